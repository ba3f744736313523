"""Labels by hindsight: a thing was where the gripper closed on it, and its place is where the gripper opened.

The input is the gripper's positions and openings and the instruction; no camera, model or annotation. Whatever the
events do not tell is refused and reported, never guessed: a frame's facts hold the known targets only.
Source: InSpire (arXiv 2505.13888) labels its real-robot episodes in this way, from exactly one closing per episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import itertools

import numpy as np

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.labeling.grasp_events import Grasp, GraspEvents, find_grasps
from inspire_fast.labeling.hindsight.manipulations import Instruction, Manipulation
from inspire_fast.robots.gripper import GripperSignal


@dataclass(frozen=True, kw_only=True)
class HindsightOptions:
    """Assumptions about episodes.

    Attributes:
        near_m: a point this close to the fingers is left out of a frame's facts unless it is held: a thing's middle is
            further than this from its grip, so that the direction is uncertain. On simulated episodes, hindsight and
            truth agree on about one in four of these frames, and on nine in ten of the others (`agreement.json`).
        regrasp_m: a thing that is let go and gripped again within this distance is the same thing.
        end_is_release: an episode that ends with the gripper closed ends where the thing would be let go.
        end_is_contact: an episode whose only step handles something without gripping it ends in contact with it.
    """

    near_m: float = 0.02
    regrasp_m: float = 0.1
    end_is_release: bool = False
    end_is_contact: bool = False


@dataclass(frozen=True, kw_only=True)
class EpisodeReport:
    """Report on one episode.

    Attributes:
        instruction: as recorded.
        grasps: all grasps found.
        inferred: phrase -> the source of its position.
        refused: phrase -> the reason why its position is not known.
        notes: assumptions made, and unusual observations.
    """

    instruction: str
    grasps: tuple[Grasp, ...] = ()
    inferred: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class _Track:
    """A phrase's position at every frame `[n, 3]`, the frames at which it is in the gripper `[n]`, and the source."""

    position_m: np.ndarray
    grasped: np.ndarray
    how: str


def hindsight(
    instruction: Instruction,
    states: np.ndarray,
    *,
    fps: float,
    signal: GripperSignal,
    options: HindsightOptions | None = None,
) -> tuple[list[SceneFacts | None], EpisodeReport]:
    """Facts for every frame of one episode; None for a frame without known targets.

    Args:
        instruction: see `manipulations.parse_instruction`.
        states: `[n, s]`, as recorded.
        fps: frames per second.
        signal: the gripper's position and opening in the states.
        options: assumptions about the episode.

    Raises:
        DatasetError: NaN or infinity in the gripper's position or opening (names the frame), or a gripper that never
            opens.
    """
    options = options or HindsightOptions()
    positions, openings = signal.positions_m(states), signal.openings(states)
    _check_finite(positions, openings)
    events = find_grasps(openings, fps, signal)
    assignment = _assign(instruction.manipulations, events, positions, options)
    tracks = _tracks(instruction, assignment, positions, options)
    report = EpisodeReport(
        instruction=instruction.text,
        grasps=events.grasps,
        inferred={phrase: track.how for phrase, track in tracks.items()},
        refused={p: _reason(p, instruction, assignment) for p in instruction.phrases if p not in tracks},
        notes=(*events.notes, *assignment.notes),
    )
    return [_facts(tracks, positions, frame, options.near_m) for frame in range(len(positions))], report


def _check_finite(positions: np.ndarray, openings: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1) | ~np.isfinite(openings))
    if len(bad):
        frame = int(bad[0])
        raise DatasetError(
            f"frame {frame}: the gripper's position {positions[frame]} or opening {openings[frame]} is NaN or infinite "
            f"({len(bad)} such frames)."
        )


@dataclass(frozen=True, kw_only=True)
class _Assignment:
    """The grasps of each manipulation, in order of time; `problem` is the reason if they could not be assigned."""

    pairs: tuple[tuple[Manipulation, tuple[Grasp, ...]], ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()


def _assign(
    manipulations: Sequence[Manipulation], events: GraspEvents, positions: np.ndarray, options: HindsightOptions
) -> _Assignment:
    """Assigns grasps to manipulations in the instruction's order, after joining repeated grasps of one thing."""
    notes = [f"frame {grasp.start}: the gripper closed on nothing" for grasp in events.grasps if grasp.empty]
    if not manipulations:
        return _Assignment(problem="the instruction names nothing that is gripped", notes=tuple(notes))
    groups = [(grasp,) for grasp in events.grasps if not grasp.empty]
    carried = [m for m in manipulations if not m.handled]
    # A drawer that is opened may have been gripped; one that is closed, or a switch, is only touched.
    pulled = any(m.handled and not m.touched for m in manipulations)
    uncertain = pulled or bool(notes)
    wanted = manipulations if pulled or not carried or len(groups) == len(manipulations) else carried
    problem, regrasps = _join_regrasps(groups, len(wanted), positions, options)
    notes += regrasps
    if problem:
        return _Assignment(problem=problem, notes=tuple(notes))
    if carried and uncertain and 0 < len(groups) < len(manipulations):
        problem = f"{len(groups)} grasps for {len(manipulations)} things to grip or handle: whose they are is not known"
        return _Assignment(problem=problem, notes=tuple(notes))
    chosen = manipulations if len(groups) == len(manipulations) else carried
    if len(groups) != len(chosen):
        problem = f"{len(groups)} grasps for {len(chosen)} things to grip" if groups else "never grasped"
        return _Assignment(problem=problem if chosen else "", notes=tuple(notes))
    if len(groups) > 1:
        notes.append("things are assumed to be gripped in the instruction's order")
    return _Assignment(pairs=tuple(zip(chosen, groups, strict=True)), notes=tuple(notes))


def _join_regrasps(
    groups: list[tuple[Grasp, ...]], wanted: int, positions: np.ndarray, options: HindsightOptions
) -> tuple[str, list[str]]:
    """Joins neighbouring grasps in `groups`, the nearest first, until `wanted` are left.

    Returns:
        The problem if they are too far apart, and notes about those joined.
    """
    notes = []
    while len(groups) > wanted:
        gaps = [
            float(np.linalg.norm(positions[after[0].start] - positions[_last(before[-1], positions)]))
            for before, after in itertools.pairwise(groups)
        ]
        if groups[0][0].start == 0:  # held before the episode began: not an earlier grasp of the same thing
            gaps[0] = np.inf
        nearest = int(np.argmin(gaps))
        if gaps[nearest] > options.regrasp_m:
            return f"{len(groups)} grasps for {wanted} things to grip, and none of them is a repeated one", notes
        again = groups[nearest + 1]
        notes.append(f"frame {again[0].start}: gripped again, {gaps[nearest]:.3f} m from where it was let go")
        groups[nearest : nearest + 2] = [groups[nearest] + again]
    return "", notes


def _last(grasp: Grasp, positions: np.ndarray) -> int:
    """The last frame of a grasp."""
    return (len(positions) if grasp.stop is None else grasp.stop) - 1


def _tracks(
    instruction: Instruction, assignment: _Assignment, positions: np.ndarray, options: HindsightOptions
) -> dict[str, _Track]:
    """Tracks of the phrases that an event tells about, in the instruction's order.

    A phrase in several roles takes the most certain one: carried, then place, then handled, then source.
    """
    length = len(positions)
    carried: dict[str, _Track] = {}
    places: dict[str, list[np.ndarray]] = {}
    handled: dict[str, _Track] = {}
    sources: dict[str, _Track] = {}
    for manipulation, grasps in assignment.pairs:
        track = _carried(grasps, positions)
        (handled if manipulation.handled else carried).setdefault(manipulation.thing, track)
        for riding in manipulation.riding:
            carried[riding] = _continued(carried.get(riding), track, grasps)
        if manipulation.source:
            gripped = _fixed(positions[grasps[0].start], length, "where the thing was gripped")
            sources.setdefault(manipulation.source, gripped)
        if manipulation.place and (grasps[-1].stop is not None or options.end_is_release):
            places.setdefault(manipulation.place, []).append(positions[_last(grasps[-1], positions)])
    for phrase, points in places.items():
        many = f"the mean of {len(points)} places where the gripper opened"
        handled[phrase] = _fixed(
            np.mean(points, axis=0), length, many if len(points) > 1 else "where the gripper opened"
        )
    tracks = {**sources, **handled, **carried}
    if options.end_is_contact and not assignment.pairs and [m.handled for m in instruction.manipulations] == [True]:
        contact = _fixed(positions[-1], length, "where the episode ends, in contact")
        tracks[instruction.manipulations[0].thing] = contact
    return {phrase: tracks[phrase] for phrase in instruction.phrases if phrase in tracks}


def _carried(grasps: tuple[Grasp, ...], positions: np.ndarray) -> _Track:
    """Before the first grasp at its position, during each in the gripper, after each where it was let go."""
    position, grasped = np.empty_like(positions), np.zeros(len(positions), bool)
    position[: grasps[0].start] = positions[grasps[0].start]
    for grasp in grasps:
        last = _last(grasp, positions)
        position[grasp.start : last + 1] = positions[grasp.start : last + 1]
        grasped[grasp.start : last + 1] = True
        position[last + 1 :] = positions[last]
    times = "" if len(grasps) == 1 else f", in {len(grasps)} grips"
    return _Track(position_m=position, grasped=grasped, how=f"gripped from frame {grasps[0].start}{times}")


def _continued(before: _Track | None, bottom: _Track, grasps: tuple[Grasp, ...]) -> _Track:
    """The track of a thing on top of a gripped one: its own until then, later at a constant shift from the other."""
    if before is None:
        nowhere = np.zeros_like(bottom.grasped)
        return _Track(position_m=bottom.position_m, grasped=nowhere, how="on top of a gripped thing")
    start = grasps[0].start
    position, shift = before.position_m.copy(), before.position_m[start] - bottom.position_m[start]
    position[start:] = bottom.position_m[start:] + shift
    return _Track(position_m=position, grasped=before.grasped, how=f"{before.how}, later carried along")


def _fixed(point_m: np.ndarray, length: int, how: str) -> _Track:
    return _Track(position_m=np.tile(point_m, (length, 1)), grasped=np.zeros(length, bool), how=how)


def _reason(phrase: str, instruction: Instruction, assignment: _Assignment) -> str:
    """The reason why nothing is known about a phrase."""
    mine = [m for m in instruction.manipulations if phrase in m.phrases]
    if not mine:
        return "the gripper neither takes it nor lets go of anything there"
    if all(phrase in m.references for m in mine):
        return "named as a reference: the thing is let go next to, between or towards it, not at it"
    if all(m.handled and m.thing == phrase for m in mine):
        return "touched without a grasp: no gripper event says where it is"
    if assignment.problem:
        return assignment.problem
    if any(m.place == phrase for m in mine):
        return "never released: the episode ends with the gripper closed"
    return "no grasp"


def _facts(tracks: dict[str, _Track], positions: np.ndarray, frame: int, near_m: float) -> SceneFacts | None:
    targets = []
    for phrase, track in tracks.items():
        offset_m = (track.position_m[frame] - positions[frame]).astype(np.float32)
        if track.grasped[frame] or np.linalg.norm(offset_m) >= near_m:
            targets.append(TargetFacts(phrase=phrase, offset_m=offset_m, grasped=bool(track.grasped[frame])))
    return SceneFacts(targets=tuple(targets)) if targets else None
