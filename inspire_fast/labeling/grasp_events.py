"""Grasps of a gripper, found in its opening alone: thresholds with hysteresis, without noise and failed grasps."""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path

import numpy as np

from inspire_fast.core.files import read_text
from inspire_fast.data.errors import DatasetError
from inspire_fast.robots.gripper import GripperSignal


def load_signal(path: Path) -> GripperSignal:
    """Reads a signal from a JSON file with the fields of `GripperSignal`.

    ::

        {"position": [0, 1, 2], "opening": {"6": 1.0}, "closed_below": 0.9, "open_above": 0.93}

    Raises:
        DatasetError: no such file, no JSON, or no signal; names the file.
    """
    try:
        fields = dict(json.loads(read_text(path)))
        fields["position"] = tuple(int(dimension) for dimension in fields["position"])
        fields["opening"] = {int(dimension): float(weight) for dimension, weight in fields["opening"].items()}
        return GripperSignal(**fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(f"{path} must be JSON with the fields of a gripper signal: {error!r}") from error


@dataclass(frozen=True, kw_only=True)
class Grasp:
    """A thing (or nothing) between the fingers, in the frames `start .. stop - 1`.

    Attributes:
        start: first frame at which the fingers rest on it.
        stop: first frame at which they have let go; None: not until the last frame.
        level: median opening in between, as a fraction of the widest.
        empty: the fingers met each other.
    """

    start: int
    stop: int | None
    level: float
    empty: bool


@dataclass(frozen=True, kw_only=True)
class GraspEvents:
    """Grasps of an episode.

    Attributes:
        grasps: in order of time, without noise.
        notes: unusual observations, for the report.
    """

    grasps: tuple[Grasp, ...]
    notes: tuple[str, ...] = ()


def find_grasps(openings: np.ndarray, fps: float, signal: GripperSignal) -> GraspEvents:
    """Finds the grasps in openings `[n]`, in any unit.

    The widest opening is the episode's first, as in InSpire's annotator; if the gripper starts closed, it is the widest
    of the episode.

    Raises:
        DatasetError: the gripper never opens, so that there is no measure of closed.
    """
    notes = []
    first, widest = float(openings[0]), float(np.quantile(openings, 0.98))
    if widest <= 0:
        raise DatasetError(f"The gripper's opening is never positive (largest: {widest}); check the signal's weights.")
    if first < signal.closed_below * widest:
        notes.append("the gripper starts closed; openings are measured by the episode's widest")
    fraction = openings / (widest if notes else first)
    intervals = _closed(fraction, signal)
    merged, dropped = _without_noise(intervals, len(fraction), max(1, round(signal.min_s * fps)))
    if dropped:
        notes.append(f"{dropped} closings or openings shorter than {signal.min_s} s are taken for noise")
    grasps = [_grasp(fraction, start, stop, signal) for start, stop in merged]
    if grasps and merged[0][0] == 0 and not _rests(fraction, grasps[0], signal):
        notes.append("the gripper is not fully open at first and opens on: no grasp")
        grasps = grasps[1:]
    return GraspEvents(grasps=tuple(grasps), notes=tuple(notes))


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
    """Joins intervals over gaps shorter than `shortest`, then drops intervals shorter than that.

    An interval at the end may be cut off, and stays. The second value is the number of intervals that disappeared.
    """
    joined: list[tuple[int, int]] = []
    for start, stop in intervals:
        if joined and start - joined[-1][1] < shortest:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    left = [(start, stop) for start, stop in joined if stop - start >= shortest or stop == length]
    return left, len(intervals) - len(left)


def _grasp(fraction: np.ndarray, start: int, stop: int, signal: GripperSignal) -> Grasp:
    """The part of a closed interval in which the fingers rest: closing and opening take time of their own."""
    level = float(np.median(fraction[start:stop]))
    resting = start + np.flatnonzero(fraction[start:stop] <= level + signal.level_tolerance)
    end = None if stop == len(fraction) and resting[-1] == stop - 1 else int(resting[-1]) + 1
    return Grasp(start=int(resting[0]), stop=end, level=level, empty=level < signal.empty_below)


def _rests(fraction: np.ndarray, grasp: Grasp, signal: GripperSignal) -> bool:
    """Whether something can really be held from the first frame on: one level, up to an opening.

    A gripper that merely starts half open (LIBERO's fingers do) passes through several levels.
    """
    if grasp.start != 0 or grasp.stop is None:
        return False
    return bool(np.mean(np.abs(fraction[: grasp.stop] - grasp.level) <= signal.level_tolerance) >= 0.9)
