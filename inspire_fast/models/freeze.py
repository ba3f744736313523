"""Frozen parameters, as a rule over our parameter paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inspire_fast.core.registry import require_choice
from inspire_fast.models.config import DType, ModelConfig

Frozen = Literal["nothing", "language", "vision", "all_but_lora"]


@dataclass(frozen=True, kw_only=True)
class FreezeConfig:
    """Parameters that do not train. They have no gradient, no optimiser state and no EMA.

    Attributes:
        what: "nothing" is full fine-tuning; "language" freezes the language model but for its LoRA, while the image
            tower trains (openpi's `get_freeze_filter` for a LoRA variant); "vision" freezes the image tower and its
            head; with "all_but_lora", only the low-rank updates train.
        dtype: of frozen parameters; openpi keeps them in bfloat16.
    """

    what: Frozen = "nothing"
    dtype: DType = "bfloat16"

    def __post_init__(self) -> None:
        require_choice("part to freeze", self.what, Frozen)
        require_choice("dtype", self.dtype, DType)

    def freezes(self, path: str) -> bool:
        """Whether the parameter at a '/'-path of ours is frozen."""
        tower, lora = path.split("/", 1)[0], "/lora/" in path
        return {
            "nothing": False,
            "language": tower == "language" and not lora,
            "vision": tower == "vision",
            "all_but_lora": not lora,
        }[self.what]

    def check(self, model: ModelConfig) -> None:
        """Checks that something is left to train.

        Raises:
            ValueError: only the LoRA would train, and the network has none.
        """
        if self.what == "all_but_lora" and not model.language.has_lora:
            raise ValueError(
                "freeze.what='all_but_lora' leaves nothing to train: the network has no LoRA. Choose a preset with "
                "LoRA (gemma_2b_lora), or freeze less."
            )


TRAIN_ALL = FreezeConfig()
