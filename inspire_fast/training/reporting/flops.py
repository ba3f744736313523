"""FLOPs of a training step, counted from the architecture, for "model FLOPs utilisation" (MFU).

Two operations per multiply-add, matrix products only, as in Chowdhery et al. 2022 ("PaLM", appendix B): operations that
the model needs, without repeated ones (rematerialisation) and padding. Attention counts every pair of a row's tokens,
causal or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inspire_fast.models.config import ModelConfig
from inspire_fast.models.freeze import FreezeConfig

# Dense bfloat16 operations per second of one device, from the makers' data sheets; found in `jax.Device.device_kind`.
PEAK_FLOPS = {
    "H200": 989e12,
    "H100": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v6": 918e12,
}


@dataclass(frozen=True, kw_only=True)
class ForwardFlops:
    """FLOPs of one row's forward pass, by part of the network."""

    vision: float
    language: float
    head: float


def forward_flops(model: ModelConfig, *, text_tokens: float, supervised: float) -> ForwardFlops:
    """FLOPs of one row's forward pass; low-rank updates, below one percent, are left out.

    Args:
        model: the architecture.
        text_tokens: text tokens of the row, without padding.
        supervised: tokens whose logits are computed.
    """
    v, t = model.vision, model.language
    patches = model.image_tokens
    dense = 4 * v.width**2 + 2 * v.width * v.mlp_dim
    vision = 2 * patches * (v.depth * dense + 3 * v.patch**2 * v.width + v.width * t.width)
    vision += v.depth * 4 * v.width * patches * model.tokens_per_image
    tokens = patches + text_tokens
    projections = t.width * t.head_dim * (2 * t.heads + 2 * t.kv_heads)
    language = t.depth * tokens * (2 * (projections + 3 * t.width * t.mlp_dim) + 4 * t.heads * t.head_dim * tokens)
    return ForwardFlops(vision=vision, language=language, head=2 * supervised * t.width * model.vocab_size)


def training_flops(model: ModelConfig, freeze: FreezeConfig, *, text_tokens: float, supervised: float) -> float:
    """FLOPs of one row's forward and backward pass.

    The gradient by weights costs as much as a forward pass, and so does the gradient by inputs. Frozen weights need no
    gradient by weights, and a frozen image tower no gradient at all.
    """
    forward = forward_flops(model, text_tokens=text_tokens, supervised=supervised)
    by_weights = 0 if freeze.freezes("language/layers/down") else 1
    by_head_weights = 0 if freeze.freezes("language/embedding") else 1
    vision = 1 if freeze.freezes("vision/layers/up") else 3
    return vision * forward.vision + (2 + by_weights) * forward.language + (2 + by_head_weights) * forward.head


def peak_flops(device: Any) -> float | None:
    """Dense bfloat16 operations per second of a `jax.Device`; None if it is not in the table, like every CPU."""
    return next((peak for kind, peak in PEAK_FLOPS.items() if kind in device.device_kind), None)
