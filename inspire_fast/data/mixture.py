"""Mixture of several sources in chosen proportions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import math
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from inspire_fast.core.errors import OutOfRangeError
from inspire_fast.core.types import Sample


class SampleSource(Protocol):
    """Samples by random access, as the loader reads them."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> Sample: ...


Transform = Callable[[Sample, np.random.Generator], Mapping[str, np.ndarray]]
_RESOLUTION = 1_000_000
S_co = TypeVar("S_co", bound=SampleSource, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Part(Generic[S_co]):
    """One source of a mixture.

    Attributes:
        name: of the dataset, for the loader's state and for messages.
        source: its samples; a `Mixture` needs at least one.
        weight: frequency relative to the other parts; None: its number of samples.
        transform: sample -> arrays, if the part needs its own (another robot, other normalisation statistics); None:
            the loader's. All parts must give arrays of the same shapes.
    """

    name: str
    source: S_co
    weight: float | None = None
    transform: Transform | None = None

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 < self.weight < math.inf:
            raise ValueError(f"Part {self.name!r}: the weight must be positive and finite; got {self.weight}.")


class Mixture(Generic[S_co]):
    """Concatenation of parts; the `Loader` draws from them by their `fractions`.

    The loader draws from the parts in fixed proportions: of the first n draws, part k has made `fractions[k] * n`, give
    or take less than the number of parts. Each part is shuffled separately and repeated when it is used up, so that
    small parts with large weights repeat, and large ones with small weights are seen in full over several epochs. One
    epoch of a mixture is `len(mixture)` draws.

    Raises:
        ValueError: no parts, names twice, a part without samples, or weights for some parts only.
    """

    def __init__(self, parts: Sequence[Part[S_co]]) -> None:
        names = [part.name for part in parts]
        if not parts or len(set(names)) < len(names):
            raise ValueError(f"A mixture needs parts of different names; got {names}.")
        if empty := [part.name for part in parts if not len(part.source)]:
            raise ValueError(f"Part {empty[0]!r} of the mixture has no samples.")
        if len({part.weight is None for part in parts}) > 1:
            raise ValueError(f"Give weights to all parts or to none; got { {p.name: p.weight for p in parts} }.")
        self.parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part.source) for part in parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, i: int) -> Sample:
        part, inner = self.locate(i)
        return part.source[inner]

    @property
    def counts(self) -> tuple[int, ...]:
        """Shares of the parts as whole numbers: their sizes if there are no weights, else millionths."""
        if self.parts[0].weight is None:
            return tuple(len(part.source) for part in self.parts)
        weights = [part.weight or 0.0 for part in self.parts]
        return tuple(max(round(weight / sum(weights) * _RESOLUTION), 1) for weight in weights)

    @property
    def fractions(self) -> np.ndarray:
        """Share of each part among the samples drawn, float64 `[parts]`, summing to 1."""
        return np.array(self.counts) / sum(self.counts)

    @property
    def sample_weights(self) -> tuple[float, ...]:
        """Frequency of one sample of each part, relative to an average sample; all 1 without weights."""
        if self.parts[0].weight is None:
            return (1.0,) * len(self.parts)
        sizes = [len(part.source) for part in self.parts]
        return tuple(float(f) * len(self) / size for f, size in zip(self.fractions, sizes, strict=True))

    def start(self, part: int) -> int:
        """Number of a part's first sample."""
        return int(self._starts[part])

    def locate(self, i: int) -> tuple[Part[S_co], int]:
        """The part of sample i, and the sample's number in it."""
        if not 0 <= i < len(self):
            raise OutOfRangeError(f"Sample {i} of {len(self)}.")
        k = int(np.searchsorted(self._starts, i, side="right")) - 1
        return self.parts[k], i - int(self._starts[k])

    def identity(self) -> list[list[Any]]:
        """Name, size and share of each part (JSON-able), which determine the mixture's stream."""
        return [[part.name, len(part.source), count] for part, count in zip(self.parts, self.counts, strict=True)]


def turn(position: int, counts: Sequence[int]) -> tuple[int, int]:
    """The part that is drawn at a position of the stream, and how often it was drawn before.

    Draws are spread evenly: `counts` are the parts' shares as whole numbers, e.g. for (1, 3):

        position  0  1  2  3  4  5  6  7
        part      1  1  1  0  1  1  1  0
        before    0  1  2  0  3  4  5  1
    """
    left, total = position, sum(counts)
    for part, count in enumerate(counts[:-1]):
        before, after = left * count // total, (left + 1) * count // total
        if after > before:
            return part, before
        left, total = left - before, total - count
    return len(counts) - 1, left


def spread(source: SampleSource, count: int) -> list[int]:
    """Numbers of about `count` samples, evenly spread over a source, or over a mixture's parts in their shares.

    Samples of short sources occur more than once.
    """
    if not isinstance(source, Mixture):
        return np.linspace(0, len(source) - 1, count).round().astype(int).tolist()
    drawn = np.bincount([turn(i, source.counts)[0] for i in range(count)], minlength=len(source.parts)).tolist()
    return [
        source.start(k) + i for k, part in enumerate(source.parts) if drawn[k] for i in spread(part.source, drawn[k])
    ]
