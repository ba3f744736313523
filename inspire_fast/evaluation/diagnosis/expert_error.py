"""Error of a policy's chunks at the states that it visited: distance to what the scripted expert would do from there.

Held-out loss is measured on the expert's own path. A policy that errs leaves it, and only there is it decided whether
it finds back. Many grasps are right, so that the expert plans several times and the nearest plan counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import itertools

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.controller import InfeasibleSceneError, Variation
from inspire_fast.envs.libero.experts.pick_and_place import PickAndPlace
from inspire_fast.envs.libero.experts.registry import EXPERTS

PLANS = 3


@dataclass(frozen=True, kw_only=True)
class ExpertError:
    """Error of one chunk.

    Attributes:
        step: control step of the call.
        carrying: a thing of the goal was held; the expert then plans the transfer only.
        translation: mean absolute difference of x, y and z to the nearest plan, action units (1 is 5 cm of goal).
        gripper: share of the chunk's steps at which the gripper's command has the other sign than in that plan.
        spread: the same `translation` error of the first plan to the nearest of the others; None with a single plan.
    """

    step: int
    carrying: bool
    translation: float
    gripper: float
    spread: float | None


def expert_error(
    follower: LiberoEnvironment, state: np.ndarray, chunk: np.ndarray, *, step: int, held: Sequence[tuple[str, ...]]
) -> ExpertError | None:
    """Compares a chunk with the expert's plans from the same state; None where the expert has no plan.

    Args:
        follower: another simulator of the same task and episode, after its reset; its state is changed.
        state: of the simulator before the chunk, see `LiberoEnvironment.restore`.
        chunk: `[t, 7]`, native.
        step: control step of the call.
        held: the predicates of the goal whose things are held now.
    """
    plans = []
    for seed in range(PLANS):
        follower.restore(state)
        try:
            plan = list(itertools.islice(_executed(follower, _actions(follower, seed, held)), len(chunk)))
        except InfeasibleSceneError:
            continue
        if plan:
            plans.append(np.array(plan))
    if not plans:
        return None
    errors = [_translation(chunk, plan) for plan in plans]
    nearest = plans[int(np.argmin(errors))]
    same = min(len(chunk), len(nearest))
    return ExpertError(
        step=step,
        carrying=bool(held),
        translation=min(errors),
        gripper=float(np.mean((chunk[:same, -1] > 0) != (nearest[:same, -1] > 0))),
        spread=min((_translation(plans[0], other) for other in plans[1:]), default=None),
    )


def _actions(follower: LiberoEnvironment, seed: int, held: Sequence[tuple[str, ...]]) -> Iterator[np.ndarray]:
    rng, variation = np.random.default_rng(seed), Variation()
    placed = [(p[0], p[1], p[2]) for p in held if len(p) == 3]
    if placed:
        return PickAndPlace(follower, rng, variation, placed[0]).transfer()
    return EXPERTS["carry_out"](follower, rng, variation)


def _executed(follower: LiberoEnvironment, actions: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    for action in actions:
        yield action
        follower.step(action)


def _translation(a: np.ndarray, b: np.ndarray) -> float:
    same = min(len(a), len(b))
    return float(np.abs(a[:same, :3] - b[:same, :3]).mean())
