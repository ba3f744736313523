"""Architectures by name, in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from inspire_fast.core.registry import Registry

DType = Literal["float32", "bfloat16"]
Remat = Literal["none", "nothing_saveable", "dots_saveable"]


@dataclass(frozen=True, kw_only=True)
class SiglipConfig:
    """The vision tower. One image of `h x w` becomes `(h // patch) * (w // patch)` tokens."""

    patch: int
    width: int
    depth: int
    mlp_dim: int
    heads: int

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"SigLIP width {self.width} is not a multiple of its {self.heads} heads.")


@dataclass(frozen=True, kw_only=True)
class GemmaConfig:
    """The language model. `kv_heads == heads` is MHA, 1 is MQA, anything between GQA."""

    width: int
    depth: int
    mlp_dim: int
    heads: int
    kv_heads: int
    head_dim: int

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads or self.head_dim % 2:
            raise ValueError(
                f"Gemma needs heads to be a multiple of kv_heads and an even head_dim; got {self.heads}, "
                f"{self.kv_heads}, {self.head_dim}."
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One pi0-FAST network.

    Attributes:
        vision, language: the two towers.
        vocab_size: ids of the shared text and action vocabulary.
        image_hw: size in pixels of every camera image.
        cameras: canonical camera names the network sees; absent ones are black images.
        dtype: of activations; parameters are float32 masters.
        remat: what the backward pass keeps of each layer.
    """

    vision: SiglipConfig
    language: GemmaConfig
    vocab_size: int
    image_hw: tuple[int, int] = (224, 224)
    cameras: tuple[str, ...] = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
    dtype: DType = "bfloat16"
    remat: Remat = "nothing_saveable"

    def __post_init__(self) -> None:
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
        return cls(
            **{
                **stored,
                "vision": SiglipConfig(**stored["vision"]),
                "language": GemmaConfig(**stored["language"]),
                "image_hw": tuple(stored["image_hw"]),
                "cameras": tuple(stored["cameras"]),
            }
        )


SO400M_14 = SiglipConfig(patch=14, width=1152, depth=27, mlp_dim=4304, heads=16)
GEMMA_2B = ModelConfig(
    vision=SO400M_14,
    language=GemmaConfig(width=2048, depth=18, mlp_dim=16384, heads=8, kv_heads=1, head_dim=256),
    vocab_size=257152,
)
# 30-50M parameters, for one GPU and minutes.
SMALL = ModelConfig(
    vision=SiglipConfig(patch=16, width=384, depth=8, mlp_dim=1536, heads=6),
    language=GemmaConfig(width=512, depth=8, mlp_dim=2048, heads=8, kv_heads=2, head_dim=64),
    vocab_size=4096,
    cameras=("base_0_rgb", "left_wrist_0_rgb"),
)
# Under 2M parameters: trains on two CPU cores while one waits.
TINY = ModelConfig(
    vision=SiglipConfig(patch=16, width=96, depth=3, mlp_dim=384, heads=3),
    language=GemmaConfig(width=160, depth=4, mlp_dim=512, heads=4, kv_heads=1, head_dim=40),
    vocab_size=1024,
    image_hw=(96, 96),
    cameras=("base_0_rgb", "left_wrist_0_rgb"),
    dtype="float32",
    remat="none",
)
# For unit tests: everything is there, nothing is large.
TEST = replace(
    TINY,
    vision=SiglipConfig(patch=8, width=16, depth=2, mlp_dim=32, heads=2),
    language=GemmaConfig(width=32, depth=2, mlp_dim=64, heads=4, kv_heads=2, head_dim=8),
    vocab_size=512,
    image_hw=(16, 16),
)

PRESETS: Registry[ModelConfig] = Registry(
    "model preset", {"gemma_2b": GEMMA_2B, "small": SMALL, "tiny": TINY, "test": TEST}
)
