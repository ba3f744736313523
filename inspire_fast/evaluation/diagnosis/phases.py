"""Phases that an episode reached on the way to each part of its goal, from the simulator's truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from inspire_fast.evaluation.diagnosis.course import Course

APPROACHED_M = 0.06
LIFTED_M = 0.02
PHASES = ("approached", "touched", "grasped", "lifted", "achieved")
"""In the order in which a pick-and-place task meets them. Drawers, doors and knobs are not grasped or lifted."""


def phase_steps(course: Course) -> list[dict[str, int | None]]:
    """First control step of every phase, for each predicate of the goal; None for a phase that was not reached.

    `approached`: the gripper came within 6 cm of the thing. `touched`: contact. `grasped`: contact of both finger pads.
    `lifted`: held at least 2 cm above its first height. `achieved`: the predicate holds in the last state. Phases that
    a thing cannot have are left out.
    """
    found = []
    for i, movable in enumerate(course.movable):
        held = course.held[:, i]
        reached: dict[str, np.ndarray] = {
            "approached": course.distance_m[:, i] < APPROACHED_M,
            "touched": course.touched[:, i],
            "grasped": held,
            "lifted": held & (course.raised_m[:, i] > LIFTED_M),
            "achieved": course.met[:, i] & course.met[-1, i],
        }
        if not movable:
            del reached["grasped"], reached["lifted"]
        found.append({name: _first(hit) for name, hit in reached.items()})
    return found


def _first(hit: np.ndarray) -> int | None:
    return int(np.argmax(hit)) if hit.any() else None


def furthest(steps: Mapping[str, int | None]) -> str:
    """The last phase that was reached; `nothing` if none was."""
    return next((name for name in reversed(PHASES) if steps.get(name) is not None), "nothing")


def gripper_timing(course: Course) -> dict[str, float | int | None]:
    """When the gripper first closed, and how far it was then from the first thing of the goal.

    Returns:
        `closed_step`: first step whose command closes an open gripper; `closed_m`: distance at that step, metres;
        `closes`: how often it began to close in the whole episode. None where it never closed.
    """
    closing = course.command > 0
    starts = np.flatnonzero(closing & ~np.concatenate([[False], closing[:-1]]))
    step = int(starts[0]) if len(starts) else None
    near = None if step is None or not course.goal else float(course.distance_m[step, 0])
    return {"closed_step": step, "closed_m": near, "closes": len(starts)}


def partial_credit(steps: Sequence[Mapping[str, int | None]]) -> float:
    """Mean share of phases reached, over the parts of the goal: 0 for nothing, 1 for a solved episode.

    A part that was achieved counts in full, however it came about.
    """
    shares = [
        1.0 if part["achieved"] is not None else sum(step is not None for step in part.values()) / len(part)
        for part in steps
    ]
    return sum(shares) / len(shares)
