"""Labels by hindsight: a thing was where the gripper closed on it, and its place is where the gripper opened.

The input is the gripper's positions and openings and the instruction; no camera, model or annotation. Whatever the
events do not tell is refused and reported, never guessed: a frame's facts hold the known targets only.
Source: InSpire (arXiv 2505.13888) labels its real-robot episodes in this way, from exactly one closing per episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
import itertools

import numpy as np

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.labeling.grasp_events import Grasp, GraspEvents, find_grasps
from inspire_fast.labeling.gripper_use import GripperUse
from inspire_fast.labeling.hindsight.assignment import (
    NEVER_GRASPED,
    Assignment,
    HindsightOptions,
    assign,
    last_frame,
)
from inspire_fast.labeling.hindsight.manipulations import Instruction
from inspire_fast.robots.gripper import GripperSignal


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
    """A phrase's position at every frame `[n, 3]`, the frames at which it is in the gripper `[n]`, and the source.

    The position is NaN where it is not known.
    """

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
    use: GripperUse | None = None,
    frames: slice | None = None,
) -> tuple[list[SceneFacts | None], EpisodeReport]:
    """Facts for every frame of an episode, or of a part of it; None for a frame without known targets.

    Args:
        instruction: see `manipulations.parse_instruction`.
        states: `[n, s]` of the whole episode, as recorded.
        fps: frames per second.
        signal: the gripper's position and opening in the states.
        options: assumptions about the episode.
        use: of the gripper over the dataset; None: this episode is all there is.
        frames: that have this instruction; None: all.

    Raises:
        DatasetError: NaN or infinity in the gripper's position or opening (names the frame), or a gripper that never
            opens.
    """
    options = options or HindsightOptions()
    positions, openings = signal.positions_m(states), signal.openings(states)
    _check_finite(positions, openings)
    events = _events(openings, fps, signal, use, options)
    if frames is not None and (frames.start, frames.stop) != (0, len(states)):
        events = events.within(frames.start, frames.stop, max(1, round(signal.min_s * fps)))
        positions = positions[frames]
    assignment = assign(instruction.manipulations, events, positions, options)
    tracks = _tracks(instruction, assignment, positions, options)
    report = EpisodeReport(
        instruction=instruction.text,
        grasps=events.grasps,
        inferred={phrase: track.how for phrase, track in tracks.items()},
        refused={p: _reason(p, instruction, assignment) for p in instruction.phrases if p not in tracks},
        notes=(*events.notes, *assignment.notes),
    )
    return _scenes(tracks, positions, options.near_m), report


def _events(
    openings: np.ndarray, fps: float, signal: GripperSignal, use: GripperUse | None, options: HindsightOptions
) -> GraspEvents:
    """Grasps of an episode; with a problem if the dataset's openings cannot be believed."""
    use = use or GripperUse.of([openings], fps, signal)
    events = find_grasps(openings, fps, signal, use)
    doubt = use.doubt(begins_closed=options.begins_closed)
    return replace(events, problem=doubt) if doubt else events


def _check_finite(positions: np.ndarray, openings: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1) | ~np.isfinite(openings))
    if len(bad):
        frame = int(bad[0])
        raise DatasetError(
            f"frame {frame}: the gripper's position {positions[frame]} or opening {openings[frame]} is NaN or infinite "
            f"({len(bad)} such frames)."
        )


def _tracks(
    instruction: Instruction, assignment: Assignment, positions: np.ndarray, options: HindsightOptions
) -> dict[str, _Track]:
    """Tracks of the phrases that an event tells about, in the instruction's order.

    Grips of one thing make one track, however many manipulations they belong to. A phrase in several roles takes the
    most certain one: carried, then place, then handled, then source; what is gripped is gripped in any role.
    """
    length = len(positions)
    grips: dict[str, tuple[Grasp, ...]] = {}
    carried: set[str] = set()
    riding: dict[str, _Track] = {}
    places: dict[str, list[np.ndarray]] = {}
    sources: dict[str, _Track] = {}
    for manipulation, grasps in assignment.pairs:
        grips[manipulation.thing] = grips.get(manipulation.thing, ()) + grasps
        carried |= set() if manipulation.handled else {manipulation.thing}
        for rider in manipulation.riding:
            before = riding.get(rider) or (_gripped(grips[rider], positions) if rider in grips else None)
            riding[rider] = _continued(before, _gripped(grasps, positions), grasps)
        if manipulation.source:
            gripped = _fixed(positions[grasps[0].start], length, "where the thing was gripped")
            sources.setdefault(manipulation.source, gripped)
        if manipulation.place and _let_go(grasps[-1], options):
            places.setdefault(manipulation.place, []).append(positions[last_frame(grasps[-1], positions)])
    things = {thing: _gripped(grasps, positions) for thing, grasps in grips.items()}
    fixed = {phrase: _place(points, length, things.get(phrase)) for phrase, points in places.items()}
    tracks = {**sources, **things, **fixed, **{thing: things[thing] for thing in carried}, **riding}
    contact = options.end_is_contact and _ends_in_contact(instruction, assignment)
    if contact:
        tracks[instruction.manipulations[0].thing] = _fixed(positions[-1], length, "where the episode ends, in contact")
    doubted = {*instruction.doubts, *assignment.refused} - ({*tracks} if contact else set())
    return {phrase: tracks[phrase] for phrase in instruction.phrases if phrase in tracks and phrase not in doubted}


def _let_go(grasp: Grasp, options: HindsightOptions) -> bool:
    """Whether the end of a grasp is where the thing was put."""
    return options.end_is_release if grasp.stop is None else not grasp.lost


def _ends_in_contact(instruction: Instruction, assignment: Assignment) -> bool:
    """Whether the only step handles something, without a grip, in an episode whose openings can be believed."""
    handles = [m.handled for m in instruction.manipulations] == [True]
    gripped = any(m.thing not in assignment.refused for m, _ in assignment.pairs)
    return handles and not gripped and assignment.problem in ("", NEVER_GRASPED)


def _place(points: Sequence[np.ndarray], length: int, gripped: _Track | None) -> _Track:
    """Where the gripper opened, at every frame; in the gripper while the place itself (a drawer) is gripped."""
    how = (
        f"the mean of {len(points)} places where the gripper opened" if len(points) > 1 else "where the gripper opened"
    )
    track = _fixed(np.mean(points, axis=0), length, how)
    if gripped is None:
        return track
    position = np.where(gripped.grasped[:, None], gripped.position_m, track.position_m)
    return _Track(position_m=position, grasped=gripped.grasped, how=f"{how}; {gripped.how}")


def _gripped(grasps: tuple[Grasp, ...], positions: np.ndarray) -> _Track:
    """Before the first grasp at its position, during each in the gripper, after each where it was let go.

    A thing that was lost lies where it is gripped next; if it is not, its position is not known.
    """
    position, grasped = np.empty_like(positions), np.zeros(len(positions), bool)
    position[: grasps[0].start] = positions[grasps[0].start]
    for grasp, after in itertools.zip_longest(grasps, grasps[1:]):
        last = last_frame(grasp, positions)
        position[grasp.start : last + 1] = positions[grasp.start : last + 1]
        grasped[grasp.start : last + 1] = True
        position[last + 1 :] = positions[last]
        if grasp.lost:
            position[last + 1 :] = np.nan if after is None else positions[after.start]
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


def _reason(phrase: str, instruction: Instruction, assignment: Assignment) -> str:
    """The reason why nothing is known about a phrase."""
    mine = [m for m in instruction.manipulations if phrase in m.phrases]
    if phrase in instruction.doubts:
        return instruction.doubts[phrase]
    if phrase in assignment.refused:
        return assignment.refused[phrase]
    if not mine:
        return "the gripper neither takes it nor lets go of anything there"
    if all(phrase in m.references for m in mine):
        return "named as a reference: the thing is let go next to, between or towards it, not at it"
    if all(m.handled and m.thing == phrase for m in mine) and assignment.problem in ("", NEVER_GRASPED):
        return "touched without a grasp: no gripper event says where it is"
    if assignment.problem:
        return assignment.problem
    if any(m.place == phrase for m in mine):
        lost = any(grasps[-1].lost for manipulation, grasps in assignment.pairs if manipulation.place == phrase)
        if lost:
            return "never released there: what the gripper held was lost on the way"
        return "never released: the episode ends with the gripper closed (at its goal? then use `--end-is-release`)"
    return "no grasp"


def _scenes(tracks: dict[str, _Track], positions: np.ndarray, near_m: float) -> list[SceneFacts | None]:
    """Facts per frame: the tracks that are known there and not too near, as offsets from the positions `[n, 3]`."""
    known: list[list[TargetFacts]] = [[] for _ in positions]
    for phrase, track in tracks.items():
        offsets_m = (track.position_m - positions).astype(np.float32)
        shown = track.grasped | (np.linalg.norm(offsets_m, axis=1) >= near_m)  # NaN: not known
        for frame in np.flatnonzero(shown).tolist():
            target = TargetFacts(phrase=phrase, offset_m=offsets_m[frame], grasped=bool(track.grasped[frame]))
            known[frame].append(target)
    return [SceneFacts(targets=tuple(targets)) if targets else None for targets in known]
