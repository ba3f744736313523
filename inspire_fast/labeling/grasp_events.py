"""When a gripper held something, from its opening alone: thresholds with hysteresis, noise and failed grasps sorted out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import json
from pathlib import Path
from types import MappingProxyType

import numpy as np

from inspire_fast.data.errors import DatasetError


@dataclass(frozen=True, kw_only=True)
class GripperSignal:
    """Where a robot's gripper stands in its vectors, and what counts as closed. Openings are fractions of the widest.

    Attributes:
        position: the dimensions of the state that are the gripper's x, y, z.
        opening: dimension -> weight; their weighted sum plus `opening_at_zero` grows as the gripper opens.
        opening_at_zero: see `opening` (a gripper that states how far it is *closed*, 0..1, has weight -1 and 1 here).
        metres_per_unit: of the position.
        closed_below: the gripper closes when the opening falls below this. InSpire's annotator: 0.75. Wide objects need more:
            LIBERO's cans keep the fingers at 0.81.
        open_above: it is open again above this; the gap between the two keeps noise from counting.
        empty_below: closed further than this, it holds nothing.
        level_tolerance: the object is held while the opening is within this of the hold's own level.
        min_s: shorter holds, and shorter gaps within one, are noise.
    """

    position: tuple[int, int, int]
    opening: Mapping[int, float]
    opening_at_zero: float = 0.0
    metres_per_unit: float = 1.0
    closed_below: float = 0.75
    open_above: float = 0.8
    empty_below: float = 0.03
    level_tolerance: float = 0.04
    min_s: float = 0.2

    def __post_init__(self) -> None:
        if len(set(self.position)) != 3 or not self.opening:
            raise ValueError(f"A gripper signal needs three position dimensions and an opening; got {self}.")
        if not 0 <= self.empty_below < self.closed_below <= self.open_above < 1:
            raise ValueError(
                "A gripper signal needs 0 <= empty_below < closed_below <= open_above < 1; got "
                f"{self.empty_below}, {self.closed_below}, {self.open_above}."
            )
        if self.metres_per_unit <= 0 or self.min_s < 0 or self.level_tolerance <= 0:
            raise ValueError(f"metres_per_unit and level_tolerance must be > 0 and min_s >= 0; got {self}.")

    def positions_m(self, states: np.ndarray) -> np.ndarray:
        """`[n, s]` -> `[n, 3]`, metres, along the robot's own axes."""
        return np.asarray(states, np.float64)[:, list(self.position)] * self.metres_per_unit

    def openings(self, states: np.ndarray) -> np.ndarray:
        """`[n, s]` -> `[n]`, in the gripper's own unit, larger is wider."""
        columns = np.asarray(states, np.float64)
        return self.opening_at_zero + columns[:, list(self.opening)] @ np.array(list(self.opening.values()))


_LIBERO = GripperSignal(position=(0, 1, 2), opening={6: 1.0, 7: -1.0}, closed_below=0.9, open_above=0.93)
# By robot. What a robot's spec does not say (yet): which of its dimensions are the gripper's.
SIGNALS: Mapping[str, GripperSignal] = MappingProxyType(
    {
        "libero": _LIBERO,
        "libero_front": _LIBERO,  # another camera, the same state
        "inspire_arm": GripperSignal(position=(0, 1, 2), opening={6: 1.0}, metres_per_unit=1e-6),
    }
)


def load_signal(path: Path) -> GripperSignal:
    """Reads a signal from a JSON file with the fields of `GripperSignal`.

    ::

        {"position": [0, 1, 2], "opening": {"6": 1.0}, "closed_below": 0.9, "open_above": 0.93}

    Raises:
        DatasetError: no such file, no JSON, or no signal; names the file.
    """
    try:
        fields = dict(json.loads(path.read_text(encoding="utf-8")))
        fields["position"] = tuple(int(dimension) for dimension in fields["position"])
        fields["opening"] = {int(dimension): float(weight) for dimension, weight in fields["opening"].items()}
        return GripperSignal(**fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(f"{path} must be JSON with the fields of a gripper signal: {error!r}") from error


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Something (or nothing) between the fingers, frames `start .. stop - 1`.

    Attributes:
        start: first frame at which the fingers have come to rest on it.
        stop: first frame at which they have let go; None: never, up to the last frame.
        level: median opening meanwhile, as a fraction of the widest.
        empty: the fingers met each other.
    """

    start: int
    stop: int | None
    level: float
    empty: bool


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What an episode's openings say.

    Attributes:
        holds: in order of time, noise left out.
        notes: what was unusual, for the report.
    """

    holds: tuple[Hold, ...]
    notes: tuple[str, ...] = field(default=())


def read_gripper(openings: np.ndarray, fps: float, signal: GripperSignal) -> Reading:
    """Finds the holds in openings `[n]`, in any unit.

    The widest opening is the episode's first, as in InSpire's annotator, unless the gripper starts closed: then it is the
    widest of the episode.

    Raises:
        ValueError: the gripper never opens, so that there is no measure of closed.
    """
    notes = []
    first, widest = float(openings[0]), float(np.quantile(openings, 0.98))
    if widest <= 0:
        raise ValueError(f"The gripper's opening is never positive (largest: {widest}); check the signal's weights.")
    if first < signal.closed_below * widest:
        notes.append("the gripper starts closed; openings are measured by the episode's widest")
    fraction = openings / (widest if notes else first)
    intervals = _closed(fraction, signal)
    merged, dropped = _without_noise(intervals, len(fraction), max(1, round(signal.min_s * fps)))
    if dropped:
        notes.append(f"{dropped} closings or openings shorter than {signal.min_s} s are taken for noise")
    holds = [_hold(fraction, start, stop, signal) for start, stop in merged]
    if holds and merged[0][0] == 0 and not _rests(fraction, holds[0], signal):
        notes.append("the gripper is not fully open at first and opens on: no hold")
        holds = holds[1:]
    return Reading(holds=tuple(holds), notes=tuple(notes))


def _closed(fraction: np.ndarray, signal: GripperSignal) -> list[tuple[int, int]]:
    """Intervals `[start, stop)` between falling below `closed_below` and rising above `open_above`."""
    intervals, start = [], None
    for frame, value in enumerate(fraction):
        if start is None and value < signal.closed_below:
            start = frame
        elif start is not None and value > signal.open_above:
            intervals.append((start, frame))
            start = None
    return [*intervals, (start, len(fraction))] if start is not None else intervals


def _without_noise(intervals: list[tuple[int, int]], length: int, shortest: int) -> tuple[list[tuple[int, int]], int]:
    """Joins intervals over gaps that are too short, then leaves out intervals that are (the last may be cut off)."""
    joined: list[tuple[int, int]] = []
    for start, stop in intervals:
        if joined and start - joined[-1][1] < shortest:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    kept = [(start, stop) for start, stop in joined if stop - start >= shortest or stop == length]
    return kept, len(intervals) - len(kept)


def _hold(fraction: np.ndarray, start: int, stop: int, signal: GripperSignal) -> Hold:
    """The part of a closed interval in which the fingers rest: closing and opening take time of their own."""
    level = float(np.median(fraction[start:stop]))
    resting = start + np.flatnonzero(fraction[start:stop] <= level + signal.level_tolerance)
    end = None if stop == len(fraction) and resting[-1] == stop - 1 else int(resting[-1]) + 1
    return Hold(start=int(resting[0]), stop=end, level=level, empty=level < signal.empty_below)


def _rests(fraction: np.ndarray, hold: Hold, signal: GripperSignal) -> bool:
    """Whether something may really be held from the first frame on: one level, up to an opening.

    A gripper that merely starts half open (LIBERO's fingers do) passes through levels on its way.
    """
    if hold.start != 0 or hold.stop is None:
        return False
    return bool(np.mean(np.abs(fraction[: hold.stop] - hold.level) <= signal.level_tolerance) >= 0.9)
