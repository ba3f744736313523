"""Ranges of the numbers in settings: declared in a field's type, checked where the object is made.

    steps: Count = 30_000                      # a whole number from 1 on
    decay_steps: Count | None = None
    factors: Mapping[str, Positive] = {}       # each value
    share: Annotated[float, Range(0, 1, without_high=True)] = 0.0

    def __post_init__(self) -> None:
        require_ranges(self)

A test finds every class of settings and refuses a number without a range (`tests/core/test_ranges.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
import math
import numbers
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Range:
    """Finite numbers `low .. high`; whole ones if the annotated type is `int`.

    Attributes:
        low, high: the ends, which belong to the range; infinity is no end.
        without_low, without_high: that end does not belong to it.
    """

    low: float = -math.inf
    high: float = math.inf
    without_low: bool = False
    without_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = self.low < value if self.without_low else self.low <= value
        return above and (value < self.high if self.without_high else value <= self.high) and math.isfinite(value)

    def __str__(self) -> str:
        low = "" if math.isinf(self.low) else f"above {self.low}" if self.without_low else f"at least {self.low}"
        high = "" if math.isinf(self.high) else f"below {self.high}" if self.without_high else f"at most {self.high}"
        return " and ".join(end for end in (low, high) if end) or "finite"


Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Port = Annotated[int, Range(0, 65_535)]
Positive = Annotated[float, Range(0, without_low=True)]
NotNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Finite = Annotated[float, Range()]
Decay = Annotated[float, Range(0, 1, without_high=True)]


def require_ranges(settings: object) -> None:
    """Checks every number of a dataclass whose type declares a range.

    Raises:
        ValueError: a number is outside its range, is not whole where it must be, or is no number; names the field.
    """
    kind: type = type(settings)
    for name, hint in _hints(kind).items():
        require_range(f"{kind.__name__}.{name}", getattr(settings, name), hint)


def require_range(name: str, value: Any, hint: Any) -> None:
    """Checks the numbers of one value whose type may declare ranges; raises as `require_ranges`."""
    for place, number, wanted, whole in _numbers(hint, value, name):
        is_number = isinstance(number, numbers.Integral if whole else numbers.Real)
        if not is_number or number is True or number is False or float(number) not in wanted:
            kind = "whole number" if whole else "number"
            raise ValueError(f"{place} must be a {kind}, {wanted}; got {number!r}.")


@lru_cache(maxsize=1024)
def has_range(hint: Any) -> bool:
    """Whether a type declares a range somewhere."""
    return _range_of(hint) is not None or any(map(has_range, get_args(hint)))


@lru_cache(maxsize=128)
def _hints(kind: type) -> dict[str, Any]:
    """Fields that declare a range -> their types."""
    hints, own = get_type_hints(kind, include_extras=True), {field.name for field in fields(kind)}
    return {name: hint for name, hint in hints.items() if name in own and has_range(hint)}


def _range_of(hint: Any) -> Range | None:
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((extra for extra in extras if isinstance(extra, Range)), None)


def _numbers(hint: Any, value: Any, place: str) -> Iterator[tuple[str, Any, Range, bool]]:
    """(field and place in it, value, its range, must be whole) of all numbers in a value that have a range."""
    origin, arguments = get_origin(hint), get_args(hint)
    if (wanted := _range_of(hint)) is not None:
        yield place, value, wanted, arguments[0] is int
    elif origin in (Union, UnionType):
        for option in () if value is None else arguments:
            yield from _numbers(option, value, place)
    elif not has_range(hint):
        return
    elif isinstance(value, Mapping) and len(arguments) == 2:  # else a collection, of its keys
        for key, inner in cast("Mapping[Any, Any]", value).items():
            yield from _numbers(arguments[1], inner, f"{place}[{key!r}]")
    elif isinstance(value, Collection):
        inside = list(cast("Collection[Any]", value))
        each = arguments if origin is tuple and ... not in arguments else arguments[:1] * len(inside)
        for n, (one, inner) in enumerate(zip(each, inside, strict=False)):
            yield from _numbers(one, inner, f"{place}[{n}]")
