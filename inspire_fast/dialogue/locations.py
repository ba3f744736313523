r"""Locations: places of a picture as ids of the vocabulary, after PaliGemma's convention.

A place is a fraction of the height or width of the picture *that the model sees*, y before x, in 1024 bins:

    (y, x)                  (0.3, 0.7007)
    round(c * 1023)          307  717
    text                     <loc0307><loc0717>
    PaliGemma's ids          256307 256717

    point   y x
    box     y0 x0 y1 x1       y0 <= y1, x0 <= x1
    path    y x  y x  ...     a fixed number of points

Example:
    >>> write([(0.3, 0.7007)])
    '<loc0307><loc0717>'
    >>> read("<loc0307><loc0717>").round(3).tolist()
    [0.3, 0.701]

Source: big_vision's PaliGemma (`round(c * 1023)` in its preprocessing; its evaluators divide by 1023).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import re
from typing import TYPE_CHECKING, Annotated

import numpy as np

from inspire_fast.core.ranges import Count, Range, require_ranges
from inspire_fast.dialogue.forms import AnswerGrammar

if TYPE_CHECKING:
    from inspire_fast.dialogue.vocabulary import Vocabulary

BINS = 1024
Bins = Annotated[int, Range(2, BINS)]
_TEXT = re.compile(r"(?:<loc\d{4}>)+")
_ONE = re.compile(r"<loc(\d{4})>")


def quantise(fractions: np.ndarray | Sequence[float] | Sequence[Sequence[float]], bins: int = BINS) -> np.ndarray:
    """Fractions of height and width -> bins, int32, of the same shape: `round(c * (bins - 1))`.

    Raises:
        ValueError: a fraction is outside 0..1 or not finite. Nothing is clipped: such a place is not in the picture.
    """
    given = np.asarray(fractions, np.float64)
    inside = (given >= 0) & (given <= 1)  # False for NaN
    if not inside.all():
        raise ValueError(
            f"A location is a fraction 0..1 of the picture's height or width, (y, x); got {given[~inside].ravel()[0]} "
            f"among {given.ravel().round(4).tolist()[:16]}. If these are pixels, divide them by the picture's size."
        )
    return np.rint(given * (bins - 1)).astype(np.int32)


def dequantise(symbols: np.ndarray | Sequence[int], bins: int = BINS) -> np.ndarray:
    """Bins -> fractions, float64: `s / (bins - 1)`; at most half a bin from what `quantise` was given."""
    return np.asarray(symbols, np.float64) / (bins - 1)


def spell(symbols: np.ndarray | Sequence[int]) -> str:
    """Bins -> text: `[3, 1023]` -> "<loc0003><loc1023>"."""
    return "".join(f"<loc{int(symbol):04d}>" for symbol in np.ravel(symbols))


def symbols_of(answer: str) -> list[int]:
    """Bins of a text such as "<loc0003><loc1023>"; the inverse of `spell`.

    Raises:
        ValueError: other text.
    """
    if not _TEXT.fullmatch(answer):
        raise ValueError(f"Locations are written like <loc0003><loc1023>; got {answer!r:.80}.")
    return [int(digits) for digits in _ONE.findall(answer)]


def write(fractions: np.ndarray | Sequence[float] | Sequence[Sequence[float]], bins: int = BINS) -> str:
    """Fractions, y before x -> text. Errors as of `quantise`."""
    return spell(quantise(fractions, bins))


def read(answer: str, bins: int = BINS) -> np.ndarray:
    """Text -> fractions `[coordinates]`, y before x.

    Raises:
        ValueError: other text, or a bin beyond `bins`.
    """
    symbols = symbols_of(answer)
    if max(symbols) >= bins:
        raise ValueError(f"{answer!r:.80} has the bin {max(symbols)}; there are {bins}, from 0 on.")
    return dequantise(symbols, bins)


def place_of(question: str, answer: str, bins: int = BINS) -> np.ndarray | None:
    """The place that an answer says: a point `[2]`, a box `[4]`, or the path `[k, 2]` of the question `trace`.

    None for answers in words, and for bins beyond `bins`.
    """
    if not _TEXT.fullmatch(answer) or max(symbols_of(answer)) >= bins:
        return None
    places = read(answer, bins)
    return places if len(places) == 2 or (len(places) == 4 and question != "trace") else places.reshape(-1, 2)


@dataclass(frozen=True, kw_only=True)
class Locations:
    """Form of answers that are a fixed number of locations, written without a space.

    Attributes:
        count: number of coordinates: 2 for a point, 4 for a box, 2 for each point of a path.
        bins: bins of height and of width; the vocabulary must have as many location ids (PaliGemma: 1024).
        box: the four coordinates are the corners y0 x0 y1 x1 of a box, in order.
    """

    count: Count
    bins: Bins = BINS
    box: bool = False

    def __post_init__(self) -> None:
        require_ranges(self)
        if self.count % 2 or (self.box and self.count != 4):
            wanted = "4 coordinates" if self.box else "an even number of coordinates, y and x"
            raise ValueError(f"Locations are {wanted}; got {self.count}.")

    @property
    def first(self) -> str:
        """The middle of the picture, or all of it."""
        middle = (self.bins - 1) // 2
        return spell([0, 0, self.bins - 1, self.bins - 1] if self.box else [middle] * self.count)

    def allows(self, answer: str) -> bool:
        """See `AnswerForm`, here and below."""
        if not _TEXT.fullmatch(answer):
            return False
        symbols = symbols_of(answer)
        if len(symbols) != self.count or max(symbols) >= self.bins:
            return False
        return not self.box or (symbols[0] <= symbols[2] and symbols[1] <= symbols[3])

    def listed(self) -> str:
        """How many, of which, and their order."""
        what = "y0 x0 y1 x1 of a box, y0 <= y1 and x0 <= x1" if self.box else "y before x"
        return f"{self.count} of <loc0000> .. <loc{self.bins - 1:04d}> ({what})"

    def ids(self, answer: str, vocabulary: Vocabulary) -> list[int]:
        """One id per coordinate."""
        return vocabulary.locations(self.bins)[symbols_of(answer)].tolist()

    def answer(self, ids: Sequence[int], vocabulary: Vocabulary) -> str:
        """The text of these ids."""
        return spell(np.searchsorted(vocabulary.locations(self.bins), np.asarray(ids)))

    def grammar(self, vocabulary: Vocabulary) -> AnswerGrammar:
        """One state per coordinate, whatever was chosen before.

        box         y0  x0  y1  x1  end
        not_below   -1  -1   0   1   -1
        """
        next_state = np.full((self.count + 1, self.bins), -1, np.int32)
        next_state[:-1] = np.arange(1, self.count + 1)[:, None]
        not_below = np.full(self.count + 1, -1, np.int32)
        if self.box:
            not_below[2:4] = 0, 1
        return AnswerGrammar(
            ids=vocabulary.locations(self.bins),
            next_state=next_state,
            accepting=np.arange(self.count + 1) == self.count,
            not_below=not_below,
        )

    def extreme(self, end: Callable[..., str], vocabulary: Vocabulary) -> str:
        """All answers have the same length."""
        del end, vocabulary
        return self.first

    def wrong(self, answer: str) -> str:
        """The answer mirrored about the picture's middle, or a quarter of the picture aside where that is as it was."""
        symbols = np.array(symbols_of(answer))
        mirrored = self.bins - 1 - (np.concatenate([symbols[2:], symbols[:2]]) if self.box else symbols)
        if np.abs(mirrored - symbols).max() >= self.bins // 8:
            return spell(mirrored)
        corner = symbols // 2  # of what lies in the middle: towards the upper left, half as large
        return spell(corner)

    def pick(self, number: int) -> str:
        """Uniform places; a box has the corners that two of them give."""
        drawn = np.random.default_rng(number).integers(0, self.bins, self.count)
        return spell(np.sort(drawn.reshape(2, 2), axis=0) if self.box else drawn)
