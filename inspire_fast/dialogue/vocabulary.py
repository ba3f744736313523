"""Where text ids and action ids share one vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inspire_fast.tokenizers.action import ActionTokenizer
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer


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
                f"A vocabulary of {self.size} ids cannot hold {self.text.vocab_size} text ids and {self.action.vocab_size} "
                f"action ids below its last {self.skip}. Enlarge the network's vocab_size or shrink the tokenizers."
            )

    def from_action(self, action_ids: np.ndarray | Sequence[int]) -> np.ndarray:
        """Action ids -> text ids, int32.

        Raises:
            ValueError: an id that the action tokenizer does not have.
        """
        ids = np.asarray(action_ids, np.int64)
        if ids.size and not 0 <= ids.min() <= ids.max() < self.action.vocab_size:
            raise ValueError(
                f"Action ids span {ids.min()} .. {ids.max()}; the tokenizer has 0 .. {self.action.vocab_size - 1}."
            )
        return (self.size - 1 - self.skip - ids).astype(np.int32)

    def to_action(self, text_ids: np.ndarray | Sequence[int]) -> np.ndarray:
        """Text ids of an action slot -> action ids, int32; the inverse of `from_action`.

        Raises:
            ValueError: an id that stands for no action.
        """
        ids = self.size - 1 - self.skip - np.asarray(text_ids, np.int64)
        if (bad := np.flatnonzero((ids < 0) | (ids >= self.action.vocab_size))).size:
            first, last = self.size - self.skip - self.action.vocab_size, self.size - self.skip - 1
            raise ValueError(
                f"Id {np.asarray(text_ids).ravel()[bad[0]]} at place {bad[0]} is no action id; those are {first} .. {last}."
            )
        return ids.astype(np.int32)

    def read_chunk(
        self,
        text_ids: np.ndarray | Sequence[int],
        horizon: int,
        action_dim: int,
        *,
        begin: str = "Action: ",
        end: str = "|",
    ) -> np.ndarray:
        """The normalised chunk, float32 `[horizon, action_dim]`, that stands between `begin` and `end` in a generated sequence.

        Action ids are never read through text, which loses them: several may spell one piece. What follows `end` is ignored.

        Raises:
            ValueError: `begin` or `end` is missing, another id stands between, or the ids are not one whole chunk. openpi
                returns zeros then, which after unnormalisation is a real motion.
        """
        ids = [int(i) for i in text_ids]
        start = _find(ids, self.text.encode(begin), 0)
        if start < 0:
            raise ValueError(f"The sequence of {len(ids)} ids holds no {begin!r}, so no actions.")
        start += len(self.text.encode(begin))
        stop = _find(ids, self.text.encode(end), start)
        if stop < 0:
            raise ValueError(
                f"The actions from id {start} on are not closed by {end!r}: the sequence was cut off at {len(ids)}."
            )
        return self.action.decode(self.to_action(ids[start:stop]).tolist(), horizon, action_dim)


def _find(ids: Sequence[int], part: Sequence[int], start: int) -> int:
    """Where `part` first stands in `ids` from `start` on, or -1."""
    places = range(start, len(ids) - len(part) + 1)
    return next((at for at in places if list(ids[at : at + len(part)]) == list(part)), -1)
