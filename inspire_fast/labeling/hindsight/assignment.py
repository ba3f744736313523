"""Whose grasps they are: the grasps of an episode and the manipulations of its instruction, both in order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import itertools

import numpy as np

from inspire_fast.core.ranges import NotNegative, require_ranges
from inspire_fast.labeling.grasp_events import Grasp, GraspEvents
from inspire_fast.labeling.hindsight.manipulations import Manipulation

NEVER_GRASPED = "never grasped"


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
        begins_closed: episodes may begin with the gripper closed on what the instruction names first.
        in_word_order: things of one clause ("both the can and the cup") are gripped in the order of the words.
    """

    near_m: NotNegative = 0.02
    regrasp_m: NotNegative = 0.1
    end_is_release: bool = False
    end_is_contact: bool = False
    begins_closed: bool = False
    in_word_order: bool = False

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The grasps of each manipulation, in order of time.

    Attributes:
        pairs: manipulation and its grasps.
        problem: the reason if grasps could not be assigned.
        refused: phrase -> the reason why the grasps assigned to it do not tell where it is.
        notes: for the report.
    """

    pairs: tuple[tuple[Manipulation, tuple[Grasp, ...]], ...] = ()
    problem: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def assign(
    manipulations: Sequence[Manipulation], events: GraspEvents, positions: np.ndarray, options: HindsightOptions
) -> Assignment:
    """Assigns grasps to manipulations in the instruction's order, after joining repeated grasps of one thing."""
    notes = [f"frame {grasp.start}: the gripper closed on nothing" for grasp in events.grasps if grasp.empty]
    groups = [(grasp,) for grasp in events.grasps if not grasp.empty]
    if problem := _unusable(manipulations, events, groups, options):
        return Assignment(problem=problem, notes=tuple(notes))
    carried = [m for m in manipulations if not m.handled]
    # A drawer that is opened may have been gripped; one that is closed, or a switch, is only touched.
    pulled = any(m.handled and not m.touched for m in manipulations)
    wanted = manipulations if pulled or not carried or len(groups) == len(manipulations) else carried
    notes += _drop_fists(groups, len(wanted))
    uncertain = pulled or bool(notes)
    problem, regrasps = _join_regrasps(groups, wanted, positions, options)
    notes += regrasps
    if problem:
        return Assignment(problem=problem, notes=tuple(notes))
    if carried and uncertain and 0 < len(groups) < len(manipulations):
        problem = f"{len(groups)} grasps for {len(manipulations)} things to grip or handle: whose they are is not known"
        return Assignment(problem=problem, notes=tuple(notes))
    chosen = manipulations if len(groups) == len(manipulations) else carried
    if len(groups) != len(chosen):
        problem = f"{len(groups)} grasps for {len(chosen)} things to grip" if groups else NEVER_GRASPED
        return Assignment(problem=problem if chosen else "", notes=tuple(notes))
    pairs = tuple(zip(chosen, groups, strict=True))
    refused = _refused(pairs, positions, options)
    if len(groups) > 1 and not {m.thing for m in chosen} <= set(refused):
        notes.append("things are assumed to be gripped in the instruction's order")
    return Assignment(pairs=pairs, refused=refused, notes=tuple(notes))


def _unusable(
    manipulations: Sequence[Manipulation],
    events: GraspEvents,
    groups: Sequence[tuple[Grasp, ...]],
    options: HindsightOptions,
) -> str:
    """The reason why nothing can be assigned at all; empty if there is none."""
    if not manipulations:
        return "the instruction names nothing that is gripped"
    if events.problem:
        return events.problem
    if groups and not groups[0][0].begun and not options.begins_closed:
        return (
            "the episode begins with the gripper closed: on what is not known (`--begins-closed`: on what the "
            "instruction names first)"
        )
    return ""


def _drop_fists(groups: list[tuple[Grasp, ...]], wanted: int) -> list[str]:
    """Removes closings as far as they go in this dataset, if there are too many grasps and all others are wider."""
    fists = [group for group in groups if group[0].fist]
    if len(groups) - len(fists) != wanted or not fists:
        return []
    groups[:] = [group for group in groups if not group[0].fist]
    return [f"frame {grasp.start}: the gripper closed to a fist, on nothing" for (grasp,) in fists]


def _join_regrasps(
    groups: list[tuple[Grasp, ...]], wanted: Sequence[Manipulation], positions: np.ndarray, options: HindsightOptions
) -> tuple[str, list[str]]:
    """Joins neighbouring grasps in `groups`, the nearest first, until there are as many as are `wanted`.

    Returns:
        The problem if they are too far apart or may be of several things, and notes about those joined.
    """
    notes: list[str] = []
    count = f"{len(groups)} grasps for {len(wanted)} things to grip"
    several = [m.thing for m in wanted if m.several]
    if len(groups) > len(wanted) and several:
        return f"{count}, and {several[0]!r} may be several things", notes
    if len(groups) > len(wanted) and any(grasp.commanded for group in groups for grasp in group):
        return f"{count}, and a command to close does not say which of them held something", notes
    while len(groups) > len(wanted):
        gaps = [_gap_m(before[-1], after[0], positions) for before, after in itertools.pairwise(groups)]
        if groups[0][0].start == 0:  # held before the episode began: not an earlier grasp of the same thing
            gaps[0] = np.inf
        nearest = int(np.argmin(gaps))
        if gaps[nearest] > options.regrasp_m:
            count = f"{len(groups)} grasps for {len(wanted)} things to grip"
            return f"{count}, and none of them is a repeated one", notes
        again = groups[nearest + 1]
        notes.append(f"frame {again[0].start}: gripped again, {gaps[nearest]:.3f} m from where it was let go")
        groups[nearest : nearest + 2] = [groups[nearest] + again]
    return "", notes


def _refused(
    pairs: Sequence[tuple[Manipulation, tuple[Grasp, ...]]], positions: np.ndarray, options: HindsightOptions
) -> dict[str, str]:
    """Phrase -> the reason why its grasps do not tell where it is."""
    refused: dict[str, str] = {}
    before: dict[str, Grasp] = {}
    ridden: set[str] = set()
    for manipulation, grasps in pairs:
        thing, last = manipulation.thing, before.get(manipulation.thing)
        gap_m = 0.0 if last is None else _gap_m(last, grasps[0], positions)
        if manipulation.listed and not options.in_word_order:
            refused[thing] = (
                "the instruction lists several things to grip and gives no order (`--in-word-order`: that of the words)"
            )
        elif manipulation.handled and not manipulation.pulled and all(grasp.fist for grasp in grasps):
            refused[thing] = (
                "the gripper closed as far as it ever does: a fist that pushes, or a grip of something thin"
            )
        elif thing in ridden:
            refused[thing] = "carried along on top of another thing, and then gripped itself: where is not known"
        elif gap_m > options.regrasp_m:
            refused[thing] = (
                f"gripped again {gap_m:.3f} m from where it was let go: two things of one name, or moved meanwhile"
            )
        before[thing] = grasps[-1]
        ridden |= {*manipulation.riding}
    return refused


def _gap_m(before: Grasp, after: Grasp, positions: np.ndarray) -> float:
    """The distance between the end of a grasp and the beginning of the next."""
    return float(np.linalg.norm(positions[after.start] - positions[last_frame(before, positions)]))


def last_frame(grasp: Grasp, positions: np.ndarray) -> int:
    """The last frame of a grasp."""
    return (len(positions) if grasp.stop is None else grasp.stop) - 1
