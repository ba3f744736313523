"""Registry of scripted experts, which solve tasks from the simulator's state and so give demonstrations.

An expert is a generator over an environment that has been reset: it reads the state, yields one action, and reads the
state again once the caller has executed the action. It ends when it has nothing left to try; whether the task is solved
is the simulator's verdict (`environment.success`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from inspire_fast.core.registry import Registry
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.articulated import MOTIONS, articulate
from inspire_fast.envs.libero.experts.controller import Variation
from inspire_fast.envs.libero.experts.handles import is_shut
from inspire_fast.envs.libero.experts.pick_and_place import PickAndPlace

_ROUNDS = 3  # later rounds repair what an earlier step undid (a drawer that was pushed shut again)


def carry_out(environment: LiberoEnvironment, rng: np.random.Generator, variation: Variation) -> Iterator[np.ndarray]:
    """Achieves the whole goal: opens and closes drawers and microwaves, turns stoves on and off, picks and places.

    Things to open or turn on come first; what something goes into is closed last. docs/experts.md has the measured
    success of every task.

    Args:
        environment: reset.
        rng: draws the variation.
        variation: see `Variation`.

    Yields:
        Native actions, float32 `[7]`.

    Raises:
        ValueError: the goal has predicates that no motion achieves.
        InfeasibleSceneError: a thing cannot be grasped from above, or its place is covered.
    """
    goal = environment.problem.goal
    placements = _placements(environment)
    handled = [(p[0], p[1]) for p in goal if p[0] in MOTIONS]
    if not goal or len(placements) + len(handled) != len(goal):
        raise ValueError(
            f"carry_out solves goals of {sorted(MOTIONS)}, on and in; {environment.prompt!r} wants {list(goal)}."
        )
    for _ in range(_ROUNDS):
        yield from _once(environment, rng, variation, placements, handled)
        if not environment.unmet():
            return


def _once(
    environment: LiberoEnvironment,
    rng: np.random.Generator,
    variation: Variation,
    placements: list[tuple[str, str, str]],
    handled: list[tuple[str, str]],
) -> Iterator[np.ndarray]:
    """Attempts every predicate that does not hold yet, once."""
    filled = {name for *_, place in placements for name in (place, environment.problem.owner(place))}
    late = [(verb, name) for verb, name in handled if verb == "close" and name in filled]
    for verb, name in handled:
        if (verb, name) not in late and (verb, name) in environment.unmet():
            yield from articulate(environment, rng, variation, verb, name)
    for placement in placements:
        if placement not in environment.unmet():
            continue
        if is_shut(environment, placement[2]):  # a goal need not say that a drawer must be opened first
            yield from articulate(environment, rng, variation, "open", placement[2])
        yield from PickAndPlace(environment, rng, variation, placement).run()
    for verb, name in late:
        if (verb, name) in environment.unmet():
            yield from articulate(environment, rng, variation, verb, name)


def _placements(environment: LiberoEnvironment) -> list[tuple[str, str, str]]:
    """The goal's `(verb, thing, place)`; a thing that carries another one comes first."""
    placements = [(p[0], p[1], p[2]) for p in environment.problem.goal if p[0] in ("on", "in") and len(p) == 3]
    moved = {thing for _, thing, _ in placements}
    return sorted(placements, key=lambda placement: placement[2] in moved)


Expert = Callable[[LiberoEnvironment, np.random.Generator, Variation], Iterator[np.ndarray]]
EXPERTS: Registry[Expert] = Registry("expert", {"carry_out": carry_out})
