"""Network architectures: their configuration, and the presets by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from inspire_fast.core.ranges import Count, Positive, require_ranges
from inspire_fast.core.registry import Registry, require_choice, unknown_name

_C = TypeVar("_C")

DType = Literal["float32", "bfloat16"]
# Activations that the backward pass keeps of each layer, by JAX's names; "none" keeps everything.
Remat = Literal["none", "nothing_saveable", "dots_saveable", "dots_with_no_batch_dims_saveable", "everything_saveable"]


def _build(cls: type[_C], stored: Mapping[str, Any]) -> _C:
    """A config from stored fields.

    Raises:
        ValueError: names a field that this version does not know, and the closest known one.
    """
    known = [f.name for f in fields(cls)]  # pyright: ignore[reportArgumentType]
    for name in stored:
        if name not in known:
            raise ValueError(unknown_name(f"{cls.__name__} field", name, known))
    return cls(**stored)


@dataclass(frozen=True, kw_only=True)
class SiglipConfig:
    """The vision tower. One image of `h x w` becomes `(h // patch) * (w // patch)` tokens."""

    patch: Count
    width: Count
    depth: Count
    mlp_dim: Count
    heads: Count

    def __post_init__(self) -> None:
        require_ranges(self)
        if self.width % self.heads:
            raise ValueError(f"SigLIP width {self.width} is not a multiple of its {self.heads} heads.")


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank updates `x W + scale * (x A) B` of one group of weights (Hu et al. 2021, "LoRA").

    Attributes:
        rank: of the update.
        alpha: its strength; `scale` is `alpha / rank`.
        rank_stabilised: `alpha / sqrt(rank)` instead (Kalajdzievski 2023, "rsLoRA").
        unscaled: no factor at all, whatever alpha and rank are. openpi leaves the factor out of its feed-forward
            updates (and only there), so a network trained there with `alpha != rank` needs this on
            `GemmaConfig.lora_mlp`. In `gemma_2b_lora`, alpha equals rank, and both are the same.
    """

    rank: Count
    alpha: Positive = 1.0
    rank_stabilised: bool = False
    unscaled: bool = False

    def __post_init__(self) -> None:
        require_ranges(self)

    @property
    def scale(self) -> float:
        """The factor of the update."""
        if self.unscaled:
            return 1.0
        return self.alpha / (self.rank**0.5 if self.rank_stabilised else self.rank)


@dataclass(frozen=True, kw_only=True)
class GemmaConfig:
    """The language model.

    Attributes:
        width, depth, mlp_dim: sizes.
        heads, kv_heads: `kv_heads == heads` is MHA, 1 is MQA, anything between GQA.
        head_dim: of every head; need not be `width / heads`.
        norm_eps: of every RMSNorm.
        lora_attention, lora_mlp: low-rank updates of attention and feed-forward weights, or None.
    """

    width: Count
    depth: Count
    mlp_dim: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    norm_eps: Positive = 1e-6
    lora_attention: LoraConfig | None = None
    lora_mlp: LoraConfig | None = None

    def __post_init__(self) -> None:
        require_ranges(self)
        if self.heads % self.kv_heads or self.head_dim % 2:
            raise ValueError(
                f"Gemma needs heads to be a multiple of kv_heads and an even head_dim; got {self.heads}, "
                f"{self.kv_heads}, {self.head_dim}."
            )

    @property
    def has_lora(self) -> bool:
        """Whether any weight has a low-rank update."""
        return self.lora_attention is not None or self.lora_mlp is not None

    def without_lora(self) -> GemmaConfig:
        """The architecture after merging."""
        return replace(self, lora_attention=None, lora_mlp=None)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> GemmaConfig:
        """Rebuilds a config from `dataclasses.asdict`; dictionaries written before LoRA existed have none."""
        lora = {
            name: None if stored[name] is None else _build(LoraConfig, stored[name])
            for name in ("lora_attention", "lora_mlp")
            if name in stored
        }
        return _build(cls, {**stored, **lora})


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One pi0-FAST network.

    Attributes:
        vision, language: the two towers.
        vocab_size: ids of the shared text and action vocabulary.
        image_hw: size in pixels of every camera image.
        cameras: canonical camera names the network sees; absent ones are black images.
        dtype: of activations. Parameters are float32 masters in training; loaded ones may be bfloat16.
        remat: activations that the backward pass keeps of each layer; the others are computed again.
    """

    vision: SiglipConfig
    language: GemmaConfig
    vocab_size: Count
    image_hw: tuple[Count, Count] = (224, 224)
    cameras: tuple[str, ...] = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
    dtype: DType = "bfloat16"
    remat: Remat = "nothing_saveable"

    def __post_init__(self) -> None:
        require_choice("remat policy", self.remat, Remat)
        require_choice("dtype", self.dtype, DType)
        require_ranges(self)
        if len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"Every camera is named once; got {self.cameras}.")
        if any(size % self.vision.patch for size in self.image_hw) or not self.cameras:
            raise ValueError(
                f"Image size {self.image_hw} must be a multiple of the patch {self.vision.patch}, and there must be a "
                f"camera; got cameras {self.cameras}."
            )

    @property
    def tokens_per_image(self) -> int:
        return (self.image_hw[0] // self.vision.patch) * (self.image_hw[1] // self.vision.patch)

    @property
    def image_tokens(self) -> int:
        """Tokens of all cameras together; text begins at this position."""
        return self.tokens_per_image * len(self.cameras)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> ModelConfig:
        """Rebuilds a config from `dataclasses.asdict` after a trip through JSON."""
        parts = {
            "vision": _build(SiglipConfig, stored["vision"]),
            "language": GemmaConfig.from_dict(stored["language"]),
            "image_hw": tuple(stored["image_hw"]),
            "cameras": tuple(stored["cameras"]),
        }
        return _build(cls, {**stored, **parts})


GEMMA_2B = ModelConfig(
    vision=SiglipConfig(patch=14, width=1152, depth=27, mlp_dim=4304, heads=16),  # big_vision's So400m/14
    language=GemmaConfig(width=2048, depth=18, mlp_dim=16384, heads=8, kv_heads=1, head_dim=256),
    vocab_size=257152,
)
_RANK_16 = LoraConfig(rank=16, alpha=16.0)
GEMMA_2B_LORA = replace(GEMMA_2B, language=replace(GEMMA_2B.language, lora_attention=_RANK_16, lora_mlp=_RANK_16))
# 30-50M parameters: trains on one GPU in minutes.
SMALL = ModelConfig(
    vision=SiglipConfig(patch=16, width=384, depth=8, mlp_dim=1536, heads=6),
    language=GemmaConfig(width=512, depth=8, mlp_dim=2048, heads=8, kv_heads=2, head_dim=64),
    vocab_size=4096,
    cameras=("base_0_rgb", "left_wrist_0_rgb"),
)
# Under 2M parameters: trains on two CPU cores in minutes.
TINY = ModelConfig(
    vision=SiglipConfig(patch=16, width=96, depth=3, mlp_dim=384, heads=3),
    language=GemmaConfig(width=160, depth=4, mlp_dim=512, heads=4, kv_heads=1, head_dim=40),
    vocab_size=1024,
    image_hw=(96, 96),
    cameras=("base_0_rgb", "left_wrist_0_rgb"),
    dtype="float32",
    remat="none",
)
# For unit tests: every part at its smallest.
TEST = replace(
    TINY,
    vision=SiglipConfig(patch=8, width=16, depth=2, mlp_dim=32, heads=2),
    language=GemmaConfig(width=32, depth=2, mlp_dim=64, heads=4, kv_heads=2, head_dim=8),
    vocab_size=512,
    image_hw=(16, 16),
)

PRESETS: Registry[ModelConfig] = Registry(
    "model preset",
    {"gemma_2b": GEMMA_2B, "gemma_2b_lora": GEMMA_2B_LORA, "small": SMALL, "tiny": TINY, "test": TEST},
)
