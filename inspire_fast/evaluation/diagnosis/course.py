"""Course of an evaluated episode: its actions repeated in the simulator without rendering, and the truth at each step.

An episode is a function of its key and its actions, so that everything which was not recorded can be looked up later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from inspire_fast.envs.libero.disturbances import Disturbed
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.evaluation.records.actions import EpisodeActions

OnState = Callable[[int], None]
"""Called with the control step while the simulator is in the state before that step."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """Truth of one episode. Letters: `n` control steps, `g` predicates of the goal, `p` phrases of the instruction.

    Row `i` is the state before action `i`; row `n` is the last state.

    Attributes:
        goal: the predicates, `(verb, thing, ...)`.
        movable: bool `[g]`; the thing can be grasped and lifted (no drawer, door or knob).
        gripper_m: `[n + 1, 3]`, world axes, metres.
        opening_m: `[n + 1]`, between the fingers.
        distance_m: `[n + 1, g]`, from the gripper to the point of the thing that the labels aim at (its origin where
            the instruction names it not).
        raised_m: `[n + 1, g]`, height of the thing's origin above its first.
        touched, held: bool `[n + 1, g]`: any contact with the gripper; contact with both finger pads.
        met: bool `[n + 1, g]`, the predicate holds.
        phrases: of the instruction's targets.
        offset_m: `[n + 1, p, 3]`, target minus gripper.
        command: `[n]`, the gripper's.
    """

    goal: tuple[tuple[str, ...], ...]
    movable: np.ndarray
    gripper_m: np.ndarray
    opening_m: np.ndarray
    distance_m: np.ndarray
    raised_m: np.ndarray
    touched: np.ndarray
    held: np.ndarray
    met: np.ndarray
    phrases: tuple[str, ...]
    offset_m: np.ndarray
    command: np.ndarray

    def __len__(self) -> int:
        return len(self.command)


def repeat_episode(
    environment: LiberoEnvironment | Disturbed,
    episode: int,
    actions: EpisodeActions,
    *,
    on_state: OnState | None = None,
) -> Course:
    """Repeats an episode and returns its truth.

    Args:
        environment: as the evaluation built it.
        episode: number of the initial state.
        actions: of the episode.
        on_state: called before every step.
    """
    environment.reset(episode)
    simulator = environment.environment if isinstance(environment, Disturbed) else environment
    goal, movable = simulator.problem.goal, set(simulator.movable)
    rows = [_truth(simulator)]
    for step, action in enumerate(actions.sent):
        if on_state is not None:
            on_state(step)
        environment.step(action)
        rows.append(_truth(simulator))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    height_m = columns.pop("height_m")
    return Course(
        goal=goal,
        movable=np.array([predicate[1] in movable for predicate in goal]),
        raised_m=height_m - height_m[0],
        phrases=tuple(target.phrase for target in simulator.targets),
        command=actions.sent[:, -1].astype(float),
        **columns,
    )


def _truth(simulator: LiberoEnvironment) -> dict[str, Any]:
    gripper, unmet, goal = simulator.gripper_m(), simulator.unmet(), simulator.problem.goal
    things = [simulator.problem.owner(predicate[1]) for predicate in goal]
    return {
        "gripper_m": gripper,
        "opening_m": float(np.ptp(simulator.state()[-2:])),
        "distance_m": [np.linalg.norm(_aim_m(simulator, predicate[1]) - gripper) for predicate in goal],
        "height_m": [simulator.position_m(predicate[1])[2] for predicate in goal],
        "touched": [simulator.touches(thing) for thing in things],
        "held": [simulator.holds(thing) for thing in things],
        "met": [predicate not in unmet for predicate in goal],
        "offset_m": np.reshape([simulator.target_m(target) - gripper for target in simulator.targets], (-1, 3)),
    }


def _aim_m(simulator: LiberoEnvironment, name: str) -> np.ndarray:
    """The point of the first target that belongs to the thing; the thing's origin without one."""
    owner = simulator.problem.owner(name)
    target = next((target for target in simulator.targets if target.owner == owner), None)
    return simulator.position_m(name) if target is None else simulator.target_m(target)
