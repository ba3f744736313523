"""Scripted experts: they solve tasks from privileged simulator state, so that a user without data sets has demonstrations.

An expert is a generator over an environment that has been reset: it looks at the state, yields one action, and looks
again once the caller has executed it. It ends when it has nothing left to try; whether the task is solved is the
simulator's word (`environment.success`), never the expert's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from inspire_fast.core.registry import Registry
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.articulated import MOTIONS, articulate
from inspire_fast.envs.libero.experts.controller import Variation
from inspire_fast.envs.libero.experts.handles import is_shut
from inspire_fast.envs.libero.experts.pick_and_place import Transfer

_ROUNDS = 3  # in which what does not hold yet is tried


def pick_and_place(
    environment: LiberoEnvironment, rng: np.random.Generator, variation: Variation
) -> Iterator[np.ndarray]:
    """Picks up what the goal wants moved and puts it in or on its place (see `transfer`): from above, around neighbours.

    Args:
        environment: reset; its goal is `on` or `in` with an object and a place.
        rng: decides the variation.
        variation: see `Variation`.

    Yields:
        Native actions, float32 `[7]`.

    Raises:
        ValueError: the goal is none that this expert can reach.
    """
    placements = _placements(environment)
    if len(placements) != 1 or len(environment.problem.goal) != 1:
        raise ValueError(
            f"pick_and_place solves goals that put one object in or on one place; {environment.prompt!r} wants "
            f"{list(environment.problem.goal)}."
        )
    yield from Transfer(environment, rng, variation, placements[0]).run()


def pick_and_place_each(
    environment: LiberoEnvironment, rng: np.random.Generator, variation: Variation
) -> Iterator[np.ndarray]:
    """Picks and places, one after the other, everything that the goal wants put somewhere (see `pick_and_place`).

    Raises:
        ValueError: the goal wants nothing placed, or something else besides.
    """
    placements = _placements(environment)
    if not placements or len(placements) != len(environment.problem.goal):
        raise ValueError(
            f"pick_and_place_each solves goals that put objects in or on places; {environment.prompt!r} wants "
            f"{list(environment.problem.goal)}."
        )
    for placement in placements:
        yield from Transfer(environment, rng, variation, placement).run()


def carry_out(environment: LiberoEnvironment, rng: np.random.Generator, variation: Variation) -> Iterator[np.ndarray]:
    """Does everything that the goal wants: opens and closes drawers and microwaves, turns stoves, picks and places.

    What has to be open or on comes first, what something goes into is closed last. docs/experts.md says which tasks are
    solved how often.

    Raises:
        ValueError: the goal wants something else as well.
        InfeasibleSceneError: a thing cannot be taken from above, or its place is covered.
    """
    goal = environment.problem.goal
    placements = _placements(environment)
    handled = [(p[0], p[1]) for p in goal if p[0] in MOTIONS]
    if not goal or len(placements) + len(handled) != len(goal):
        raise ValueError(
            f"carry_out solves goals of {sorted(MOTIONS)}, on and in; {environment.prompt!r} wants {list(goal)}."
        )
    for _ in range(_ROUNDS):  # what one step undoes (an opened drawer that is pushed), the next round does again
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
    """Everything that does not hold yet, in a sensible order."""
    filled = {name for *_, place in placements for name in (place, environment.problem.owner(place))}
    late = [(verb, name) for verb, name in handled if verb == "close" and name in filled]
    for verb, name in handled:
        if (verb, name) not in late and (verb, name) in environment.unmet():
            yield from articulate(environment, rng, variation, verb, name)
    for placement in placements:
        if placement not in environment.unmet():
            continue
        if is_shut(environment, placement[2]):  # the goal does not say that what something goes into has to be opened
            yield from articulate(environment, rng, variation, "open", placement[2])
        yield from Transfer(environment, rng, variation, placement).run()
    for verb, name in late:
        if (verb, name) in environment.unmet():
            yield from articulate(environment, rng, variation, verb, name)


def _placements(environment: LiberoEnvironment) -> list[tuple[str, str, str]]:
    """The goal's `(verb, object, place)`; what something else is put on comes first."""
    placements = [(p[0], p[1], p[2]) for p in environment.problem.goal if p[0] in ("on", "in") and len(p) == 3]
    moved = {thing for _, thing, _ in placements}
    return sorted(placements, key=lambda placement: placement[2] in moved)


Expert = Callable[[LiberoEnvironment, np.random.Generator, Variation], Iterator[np.ndarray]]
EXPERTS: Registry[Expert] = Registry(
    "expert", {"pick_and_place": pick_and_place, "pick_and_place_each": pick_and_place_each, "carry_out": carry_out}
)
