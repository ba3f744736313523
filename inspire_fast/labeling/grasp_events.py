"""Grasps of a gripper, found in its opening alone: thresholds with hysteresis, without noise and failed grasps."""

from __future__ import annotations

from dataclasses import dataclass, replace
import json
from pathlib import Path

import numpy as np

from inspire_fast.core.files import read_text
from inspire_fast.data.errors import DatasetError
from inspire_fast.labeling.gripper_use import GripperUse
from inspire_fast.robots.gripper import GripperSignal

_THICKER = 0.1  # of the widest opening: what was held before it was lost, compared with a fist


def load_signal(path: Path) -> GripperSignal:
    """Reads a signal from a JSON file with the fields of `GripperSignal`.

    ::

        {"position": [0, 1, 2], "opening": {"6": 1.0}, "closed_below": 0.9, "open_above": 0.93}

    `columns` names the dataset's columns that the dimensions count through, where the state lacks some of them::

        {"columns": ["ee_pose", "gripper"], "position": [0, 1, 2], "opening": {"7": 1.0}}

    Raises:
        DatasetError: no such file, no JSON, or no signal; names the file.
    """
    try:
        fields = dict(json.loads(read_text(path)))
        fields["position"] = tuple(int(dimension) for dimension in fields["position"])
        fields["columns"] = tuple(map(str, fields.get("columns", ())))
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
        fist: the fingers closed about as far as they ever do in this dataset: a thin thing, or nothing.
        commanded: the opening is a command, 0 or 1, so that a closing on nothing looks the same.
        lost: at `stop` the fingers did not open but met: the thing slipped out, and where it fell is not known.
        begun: the closing was seen; False: the episode began with it.
    """

    start: int
    stop: int | None
    level: float
    empty: bool
    fist: bool = False
    commanded: bool = False
    lost: bool = False
    begun: bool = True


@dataclass(frozen=True, kw_only=True)
class GraspEvents:
    """Grasps of an episode.

    Attributes:
        grasps: in order of time, without noise.
        notes: unusual observations, for the report.
        problem: the reason why the openings of this episode tell nothing; empty if there is none.
    """

    grasps: tuple[Grasp, ...]
    notes: tuple[str, ...] = ()
    problem: str = ""

    def within(self, start: int, stop: int, shortest: int) -> GraspEvents:
        """The events of the frames `start .. stop - 1`, counted from `start`.

        A grasp that goes on beyond `stop` has no end here. Less than `shortest` frames of it are none: whoever
        recorded the instructions changed them a little before or after the gripper moved.
        """
        grasps = []
        for grasp in self.grasps:
            first, last = max(grasp.start, start), stop if grasp.stop is None else min(grasp.stop, stop)
            if last - first >= shortest:
                ends = grasp.stop is not None and grasp.stop <= stop
                end = last - start if ends else None
                grasps.append(replace(grasp, start=first - start, stop=end, lost=grasp.lost and ends))
        return replace(self, grasps=tuple(grasps))


def find_grasps(openings: np.ndarray, fps: float, signal: GripperSignal, use: GripperUse | None = None) -> GraspEvents:
    """Finds the grasps in openings `[n]`, in any unit.

    The widest opening is the episode's first, as in InSpire's annotator; if the gripper starts closed, it is the widest
    of the episode. An episode in which the gripper opens less than elsewhere has no measure of closed.

    Args:
        openings: of one episode.
        fps: frames per second.
        signal: thresholds.
        use: of the gripper over the dataset; None: this episode is all there is.

    Raises:
        DatasetError: the gripper never opens, so that there is no measure of closed.
    """
    use = use or GripperUse.of([openings], fps, signal)
    measure, notes = _measure(openings, signal)
    if measure < signal.closed_below * use.widest:
        share = f"{measure / use.widest:.0%} of the widest opening of the dataset"
        return GraspEvents(grasps=(), problem=f"the gripper opens to {share} only: what counts as closed is not known")
    fraction, shortest = openings / measure, max(1, round(signal.min_s * fps))
    intervals, dropped = _without_noise(_closed(fraction, signal), len(fraction), shortest)
    if dropped:
        notes.append(f"{dropped} closings or openings shorter than {signal.min_s} s are taken for noise")
    commanded = use.two_valued and bool(intervals)
    if commanded:
        signal = replace(signal, empty_below=0.0)
        notes.append("the opening has two values: it is a command, and a closing on nothing cannot be seen")
    search = _Search(fraction, signal, use.fist(signal), shortest)
    grasps = [replace(grasp, commanded=commanded) for start, stop in intervals for grasp in search.grasps(start, stop)]
    if grasps and intervals[0][0] == 0 and not _rests(fraction, grasps[0], signal):
        notes.append("the gripper is not fully open at first and opens on: no grasp")
        grasps = grasps[1:]
    notes += [
        f"frame {grasp.stop}: the fingers met while they held something: it is lost" for grasp in grasps if grasp.lost
    ]
    return GraspEvents(grasps=tuple(grasps), notes=tuple(notes), problem=search.problem)


def _measure(openings: np.ndarray, signal: GripperSignal) -> tuple[float, list[str]]:
    """The opening that counts as 1, and a note if it is not the first."""
    first, widest = float(openings[0]), float(np.quantile(openings, 0.98))
    if first >= signal.closed_below * widest:
        return first, []
    return widest, ["the gripper starts closed; openings are measured by the episode's widest"]


@dataclass
class _Search:
    """The grasps within closed intervals of openings `[n]`, as fractions; `fist`: see `GripperUse`."""

    fraction: np.ndarray
    signal: GripperSignal
    fist: float
    shortest: int
    problem: str = ""

    def grasps(self, start: int, stop: int) -> list[Grasp]:
        """One grasp, or several if what was held is lost and the fingers, still closed, rest on something again."""
        found: list[Grasp] = []
        while True:
            met = self._met(start, stop)
            grasp = self._grasp(start, stop if met is None else met)
            if met is None:
                return [*found, grasp]
            found.append(replace(grasp, stop=met if grasp.stop is None else grasp.stop, lost=True))
            again = self._rest(met, stop)
            if again is None:
                return found
            start = again

    def _grasp(self, start: int, stop: int) -> Grasp:
        """The part of an interval in which the fingers rest: closing and opening take time of their own."""
        level = float(np.median(self.fraction[start:stop]))
        resting = start + np.flatnonzero(self.fraction[start:stop] <= level + self.signal.level_tolerance)
        end = None if stop == len(self.fraction) and resting[-1] == stop - 1 else int(resting[-1]) + 1
        empty, fist, first = level < self.signal.empty_below, level <= self.fist, int(resting[0])
        return Grasp(start=first, stop=end, level=level, empty=empty, fist=fist, begun=first > 0)

    def _met(self, start: int, stop: int) -> int | None:
        """The frame at which the fingers met although they had rested on something that is clearly thicker.

        Closing takes time, too, and a bowl's rim moves between the fingers: they must have come to rest before.
        """
        rest = self._rest(start, stop)
        if rest is None:
            return None
        closed = self.fraction[rest:stop] <= self.fist
        edges = np.flatnonzero(np.diff(np.concatenate([[False], closed, [False]]).astype(np.int8)))
        runs = [
            (rest + int(a), rest + int(b))
            for a, b in zip(edges[::2], edges[1::2], strict=True)
            if b - a >= self.shortest
        ]
        if not runs:
            return None
        at, end = runs[0]
        if np.median(self.fraction[at:end]) > self.signal.empty_below:
            self.problem = self.problem or (
                f"frame {at}: the fingers closed further while they held something: it may be lost, or they had not "
                "reached it before"
            )
        return at

    def _rest(self, start: int, stop: int) -> int | None:
        """The first frame from which the fingers rest on something that is clearly thicker than a fist."""
        if stop - start < self.shortest:
            return None
        windows = np.lib.stride_tricks.sliding_window_view(self.fraction[start:stop], self.shortest)
        low, high = windows.min(axis=1), windows.max(axis=1)
        at = np.flatnonzero((high - low <= self.signal.level_tolerance) & (low > self.fist + _THICKER))
        return start + int(at[0]) if len(at) else None


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


def _rests(fraction: np.ndarray, grasp: Grasp, signal: GripperSignal) -> bool:
    """Whether something can really be held from the first frame on: one level, up to an opening.

    A gripper that merely starts half open (LIBERO's fingers do) passes through several levels.
    """
    if grasp.start != 0 or grasp.stop is None:
        return False
    return bool(np.mean(np.abs(fraction[: grasp.stop] - grasp.level) <= signal.level_tolerance) >= 0.9)
