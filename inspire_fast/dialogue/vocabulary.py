"""Vocabulary of the model: text ids and action ids in one range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import functools

import numpy as np

from inspire_fast.core.console import command_line
from inspire_fast.tokenizers.action import ActionTokenizer
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A vocabulary of `size` ids. Action id `i` is text id `size - 1 - skip - i` (openpi: 257023 - i).

    The slot decides the meaning of an id: PaliGemma's location tokens and FAST's first 1024 ids are the same ids. In
    our own vocabularies (`skip=0`) the two ranges do not overlap.
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
                f"{self.action.vocab_size} action ids below its last {self.skip}. Enlarge the network's vocab_size or "
                "shrink the tokenizers."
            )

    def locations(self, bins: int) -> np.ndarray:
        """Text ids of the locations `<loc0000>`, `<loc0001>`, ..., int32 `[bins]`, ascending.

        Raises:
            ValueError: the vocabulary has none, or another number: each would stand for another place.
        """
        ids = self.text.location_ids
        if len(ids) != bins:
            raise ValueError(
                f"A question answers with {bins} locations, and the text tokenizer has {len(ids)}. PaliGemma's has "
                "1024; one that is fitted gets as many as the questions say (their parameter `bins`) when it is fitted "
                f"with them: {command_line('fit_tokenizers')}."
            )
        return ids

    def encode_once(self, words: str) -> list[int]:
        """Text ids of words that come again and again, encoded once; do not change the list."""
        return _encode_once(self.text, words)

    def from_action(self, action_ids: np.ndarray | Sequence[int]) -> np.ndarray:
        """Action ids -> text ids, int32.

        Raises:
            ValueError: the action tokenizer has no such id.
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
            ValueError: an id is no action id.
        """
        ids = self.size - 1 - self.skip - np.asarray(text_ids, np.int64)
        if (bad := np.flatnonzero((ids < 0) | (ids >= self.action.vocab_size))).size:
            first, last = self.size - self.skip - self.action.vocab_size, self.size - self.skip - 1
            raise ValueError(
                f"Id {np.asarray(text_ids).ravel()[bad[0]]} at place {bad[0]} is no action id; action ids are "
                f"{first} .. {last}."
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
        """Normalised chunk, float32 `[horizon, action_dim]`, between `begin` and `end` in a generated sequence.

        It never goes through text, which would lose action ids: several may spell one piece. Ids after `end` are
        ignored.

        Raises:
            ValueError: `begin` or `end` is missing, another id is in between, or the ids are not one whole chunk.
                openpi returns zeros then, which unnormalise to a real motion.
        """
        ids = [int(i) for i in text_ids]
        start = _find(ids, self.text.encode(begin), 0)
        if start < 0:
            raise ValueError(f"The sequence of {len(ids)} ids holds no {begin!r}, so no actions.")
        start += len(self.text.encode(begin))
        stop = _find(ids, self.text.encode(end), start)
        if stop < 0:
            raise ValueError(
                f"The actions from place {start} on do not end with {end!r}: the sequence was cut off at {len(ids)}."
            )
        return self.action.decode(self.to_action(ids[start:stop]).tolist(), horizon, action_dim)


@functools.lru_cache(maxsize=16_384)
def _encode_once(text: TextTokenizer, words: str) -> list[int]:
    return text.encode(words)


def _find(ids: Sequence[int], part: Sequence[int], start: int) -> int:
    """First index of `part` in `ids` from `start` on, or -1."""
    places = range(start, len(ids) - len(part) + 1)
    return next((at for at in places if list(ids[at : at + len(part)]) == list(part)), -1)
