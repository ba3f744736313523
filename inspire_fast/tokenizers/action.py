"""What every action tokenizer offers: normalised chunks <-> ids, and the grammar that its ids obey."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from inspire_fast.tokenizers.grammar import Grammar


@runtime_checkable
class ActionTokenizer(Protocol):
    """Normalised action chunks `[t, a]` (quantile-normalised: mostly within [-1, 1]) <-> ids `0 .. vocab_size - 1`."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides what an id means; stands in a checkpoint's contract."""
        ...

    def encode(self, actions: np.ndarray) -> list[int]:
        """Float `[t, a]` -> ids.

        Raises:
            ValueError: not finite, or outside the range that the tokenizer can express.
        """
        ...

    def decode(self, ids: list[int], horizon: int, action_dim: int) -> np.ndarray:
        """Ids -> float32 `[horizon, action_dim]`.

        Raises:
            ValueError: the ids do not form exactly one chunk. Never zeros in place of a failure.
        """
        ...

    def grammar(self, horizon: int, action_dim: int) -> Grammar:
        """What ids may follow each other so that `decode` cannot fail."""
        ...

    def save(self, directory: Path) -> None:
        """Writes the files that `inspire_fast.tokenizers.registry.load_action_tokenizer` reads."""
        ...
