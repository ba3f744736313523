"""Facts from gripper events alone: where it closed, the object was; where it opens, the place is.

Needs the gripper's positions and openings and the instruction, nothing else: no camera, no model, no annotation. What the
events do not tell is refused and reported, never guessed: a frame's facts hold the targets that are known.
Source: InSpire (arXiv 2505.13888) labels its real-robot episodes by this principle, from exactly one closing per episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import itertools

import numpy as np

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.labeling.grasp_events import Hold, Reading, read_gripper
from inspire_fast.labeling.hindsight.manipulations import Manipulation, Plan
from inspire_fast.robots.gripper import GripperSignal


@dataclass(frozen=True, kw_only=True)
class HindsightOptions:
    """What is taken for known.

    Attributes:
        near_m: a point this close to the fingers lies in no certain direction (a thing's middle is further from its grip
            than that), and is left out of the frame's facts unless it is held. On simulated episodes, hindsight and truth
            agree on about one in four of these frames and on nine in ten of the others (`agreement.json`).
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
    """What one episode gave.

    Attributes:
        instruction: as recorded.
        holds: every hold that was found.
        inferred: phrase -> how its position is known.
        refused: phrase -> why it is not.
        notes: what was assumed, and what was unusual.
    """

    instruction: str
    holds: tuple[Hold, ...] = ()
    inferred: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class _Track:
    """A phrase's position at every frame `[n, 3]`, and when it is in the gripper `[n]`."""

    position_m: np.ndarray
    grasped: np.ndarray
    how: str


def hindsight(
    plan: Plan,
    states: np.ndarray,
    *,
    instruction: str,
    fps: float,
    signal: GripperSignal,
    options: HindsightOptions | None = None,
) -> tuple[list[SceneFacts | None], EpisodeReport]:
    """Facts for every frame of one episode; None where nothing is known.

    Args:
        plan: the instruction's (see `manipulations.plan`).
        states: `[n, s]`, as recorded.
        instruction: for the report.
        fps: frames per second.
        signal: where the gripper stands in the states.
        options: what may be assumed.

    Raises:
        DatasetError: NaN or infinity in the gripper's position or opening (names the frame), or a gripper that never opens.
    """
    options = options or HindsightOptions()
    positions, openings = signal.positions_m(states), signal.openings(states)
    _check_finite(positions, openings)
    try:
        reading = read_gripper(openings, fps, signal)
    except ValueError as error:
        raise DatasetError(str(error)) from error
    assignment = _assign(plan.manipulations, reading, positions, options)
    tracks = _tracks(assignment, positions, options)
    if options.end_is_contact and not assignment.pairs and [m.handled for m in plan.manipulations] == [True]:
        thing = plan.manipulations[0].thing
        tracks[thing] = _fixed(positions[-1], len(positions), "where the episode ends, in contact")
    refused = {p: _reason(p, plan, assignment) for p in plan.phrases if p not in tracks}
    report = EpisodeReport(
        instruction=instruction,
        holds=reading.holds,
        inferred={p: tracks[p].how for p in plan.phrases if p in tracks},
        refused=refused,
        notes=(*reading.notes, *assignment.notes),
    )
    known = [(p, tracks[p]) for p in plan.phrases if p in tracks]
    return [_facts(known, positions, frame, options.near_m) for frame in range(len(positions))], report


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
    """Which holds belong to which manipulation, in order of time; `problem` says why none could be told apart."""

    pairs: tuple[tuple[Manipulation, tuple[Hold, ...]], ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()


def _assign(
    manipulations: Sequence[Manipulation], reading: Reading, positions: np.ndarray, options: HindsightOptions
) -> _Assignment:
    """Holds go to manipulations in the instruction's order, once repeated grips of one thing are put together."""
    empty = [hold for hold in reading.holds if hold.empty]
    groups: list[tuple[Hold, ...]] = [(hold,) for hold in reading.holds if not hold.empty]
    notes = [f"frame {h.start}: the gripper closed on nothing" for h in empty]
    carried = [m for m in manipulations if not m.handled]
    if not manipulations:
        return _Assignment(problem="the instruction names nothing that is gripped", notes=tuple(notes))
    # A drawer that is opened may have had the only grip; one that is closed, or a switch, needs none.
    owners = [m for m in manipulations if m.handled and not m.touched]
    wanted = next((n for n in (len(manipulations), len(carried)) if n == len(groups)), len(carried))
    if owners or not carried:
        wanted = len(manipulations)
    while len(groups) > wanted:
        gaps = [_gap_m(positions, a[-1], b[0]) for a, b in itertools.pairwise(groups)]
        if groups[0][0].start == 0:  # held before anything was seen: never an earlier grip of something else
            gaps[0] = np.inf
        nearest = int(np.argmin(gaps))
        if gaps[nearest] > options.regrasp_m:
            return _Assignment(
                problem=f"{len(groups)} grasps for {wanted} things to grip, and none of them is a repeated one",
                notes=tuple(notes),
            )
        notes.append(
            f"frame {groups[nearest + 1][0].start}: gripped again, {gaps[nearest]:.3f} m from where it was let go"
        )
        groups[nearest : nearest + 2] = [groups[nearest] + groups[nearest + 1]]
    chosen = manipulations if len(groups) == len(manipulations) else carried
    if carried and 0 < len(groups) < len(manipulations) and (owners or empty):
        return _Assignment(
            problem=f"{len(groups)} grasps for {len(manipulations)} things to grip or handle: whose they are is not known",
            notes=tuple(notes),
        )
    if len(groups) != len(chosen):
        problem = f"{len(groups)} grasps for {len(chosen)} things to grip" if groups else "never grasped"
        return _Assignment(problem=problem, notes=tuple(notes)) if chosen else _Assignment(notes=tuple(notes))
    if len(groups) > 1:
        notes.append("things are assumed to be gripped in the instruction's order")
    return _Assignment(pairs=tuple(zip(chosen, groups, strict=True)), notes=tuple(notes))


def _gap_m(positions: np.ndarray, before: Hold, after: Hold) -> float:
    return float(np.linalg.norm(positions[after.start] - positions[_last(before, positions)]))


def _last(hold: Hold, positions: np.ndarray) -> int:
    """The last frame of a hold."""
    return (len(positions) if hold.stop is None else hold.stop) - 1


def _tracks(assignment: _Assignment, positions: np.ndarray, options: HindsightOptions) -> dict[str, _Track]:
    """Every phrase that an event speaks of. What is carried is known best, then places, then what is handled."""
    carried: dict[str, _Track] = {}
    places: dict[str, list[np.ndarray]] = {}
    handled: dict[str, _Track] = {}
    sources: dict[str, np.ndarray] = {}
    for manipulation, holds in assignment.pairs:
        track = _carried(holds, positions)
        (handled if manipulation.handled else carried).setdefault(manipulation.thing, track)
        for riding in manipulation.riding:
            carried[riding] = _continued(carried.get(riding), track, holds)
        if manipulation.source:
            sources.setdefault(manipulation.source, positions[holds[0].start])
        if manipulation.place and (holds[-1].stop is not None or options.end_is_release):
            places.setdefault(manipulation.place, []).append(positions[_last(holds[-1], positions)])
    tracks = {phrase: _fixed(point, len(positions), "where the thing was gripped") for phrase, point in sources.items()}
    tracks |= handled
    for phrase, points in places.items():
        how = (
            "where the gripper opened"
            if len(points) == 1
            else f"the mean of {len(points)} places where the gripper opened"
        )
        tracks[phrase] = _fixed(np.mean(points, axis=0), len(positions), how)
    return tracks | carried


def _carried(holds: tuple[Hold, ...], positions: np.ndarray) -> _Track:
    """At the first grip before it, in the gripper during each, and between and after them where it was let go."""
    position, grasped = np.empty_like(positions), np.zeros(len(positions), bool)
    position[: holds[0].start] = positions[holds[0].start]
    for hold in holds:
        last = _last(hold, positions)
        position[hold.start : last + 1] = positions[hold.start : last + 1]
        grasped[hold.start : last + 1] = True
        position[last + 1 :] = positions[last]
    times = "" if len(holds) == 1 else f", in {len(holds)} grips"
    return _Track(position_m=position, grasped=grasped, how=f"gripped from frame {holds[0].start}{times}")


def _continued(before: _Track | None, bottom: _Track, holds: tuple[Hold, ...]) -> _Track:
    """What rides on a gripped thing: its own past, then the thing's way. It is not itself in the gripper."""
    if before is None:
        return _Track(
            position_m=bottom.position_m, grasped=np.zeros_like(bottom.grasped), how="lies on what is gripped"
        )
    position, shift = before.position_m.copy(), before.position_m[holds[0].start] - bottom.position_m[holds[0].start]
    position[holds[0].start :] = bottom.position_m[holds[0].start :] + shift
    return _Track(position_m=position, grasped=before.grasped, how=f"{before.how}, later carried along")


def _fixed(point_m: np.ndarray, length: int, how: str) -> _Track:
    return _Track(position_m=np.tile(point_m, (length, 1)), grasped=np.zeros(length, bool), how=how)


def _reason(phrase: str, plan: Plan, assignment: _Assignment) -> str:
    """Why nothing is known about a phrase."""
    mine = [m for m in plan.manipulations if phrase in m.phrases]
    if not mine:
        return "the gripper neither takes it nor lets go of anything there"
    if all(phrase in m.references for m in mine):
        return "named as a reference: what is let go lies beside it, between or towards it, not at it"
    if all(m.handled and m.thing == phrase for m in mine):
        return "touched without a grasp: no gripper event says where it is"
    if assignment.problem:
        return assignment.problem
    return (
        "never released: the episode ends with the gripper closed"
        if any(m.place == phrase for m in mine)
        else "no grasp"
    )


def _facts(known: list[tuple[str, _Track]], positions: np.ndarray, frame: int, near_m: float) -> SceneFacts | None:
    targets = []
    for phrase, track in known:
        offset_m = (track.position_m[frame] - positions[frame]).astype(np.float32)
        if track.grasped[frame] or np.linalg.norm(offset_m) >= near_m:
            targets.append(TargetFacts(phrase=phrase, offset_m=offset_m, grasped=bool(track.grasped[frame])))
    return SceneFacts(targets=tuple(targets)) if targets else None
