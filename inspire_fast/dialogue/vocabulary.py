"""Where text ids and action ids share one vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspire_fast.tokenizers.action import ActionTokenizer
from inspire_fast.tokenizers.text import TextTokenizer


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The model's vocabulary of `size` ids. Action id `i` is text id `size - 1 - skip - i` (openpi: 257023 - i).

    An id means something only together with the slot it stands in: PaliGemma's location tokens and FAST's first 1024 ids
    are the same ids. In a vocabulary of our own making (`skip=0`) the two ranges do not touch.
    """

    text: TextTokenizer
    action: ActionTokenizer
    size: int
    skip: int

    def __post_init__(self) -> None:
        lowest = self.size - self.skip - self.action.vocab_size
        floor = self.text.vocab_size if self.skip == 0 else 4
        if self.size < self.text.vocab_size or lowest < floor:
            raise ValueError(
                f"A vocabulary of {self.size} ids cannot hold {self.text.vocab_size} text ids and "
                f"{self.action.vocab_size} action ids below its last {self.skip}. Enlarge the network's vocab_size or shrink the tokenizers."
            )

    def from_action(self, action_ids: np.ndarray | list[int]) -> np.ndarray:
        """Action ids -> text ids, int32."""
        return (self.size - 1 - self.skip - np.asarray(action_ids, np.int64)).astype(np.int32)
