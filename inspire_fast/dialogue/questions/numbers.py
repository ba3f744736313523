"""Lengths in words, in the two numberings of the InSpire releases."""

from __future__ import annotations

from typing import Literal

from inspire_fast.core.registry import require_choice

Numbering = Literal["metre", "decimetre"]
STEPS = 9
"""Largest number of steps of 0.1 m; longer lengths are clipped to it, as in miniVLA."""


def check_numbering(numbering: str) -> None:
    """Raises ValueError, with a suggestion, for a numbering that does not exist."""
    require_choice("numbering", numbering, Numbering)


def to_steps(metres: float, *, signed: bool) -> int:
    """Metres -> whole steps of 0.1 m, clipped to -9 .. 9 (or 0 .. 9)."""
    return min(max(round(float(metres) * 10), -STEPS if signed else 0), STEPS)


def say(steps: int, numbering: Numbering) -> str:
    """`-3` -> "-0.3" (metres, one decimal: pi0-FAST's release) or "-3" (decimetres: miniVLA's)."""
    return str(steps) if numbering == "decimetre" else f"{'-' if steps < 0 else ''}0.{abs(steps)}"


def hear(words: str) -> int:
    """The inverse of `say`."""
    return round(float(words) * 10) if "." in words else int(words)


def closeness(given: int, true: int) -> float:
    """Score of a number of steps: 1 if right, a third less for each step of error, 0 from three on."""
    return max(0.0, 1 - abs(given - true) / 3)
