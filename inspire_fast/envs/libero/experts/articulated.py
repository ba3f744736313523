"""Motions on drawers, doors and a stove's knob: things that keep their place and move in themselves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.controller import HandController, Variation
from inspire_fast.envs.libero.experts.doors import close_door, open_door
from inspire_fast.envs.libero.experts.drawers import close_drawer, open_drawer
from inspire_fast.envs.libero.experts.handles import Handle
from inspire_fast.envs.libero.experts.knobs import turn_off, turn_on

MOTIONS = {"open": open_drawer, "close": close_drawer, "turnon": turn_on, "turnoff": turn_off}
DOORS = {"open": open_door, "close": close_door}


def articulate(
    environment: LiberoEnvironment, rng: np.random.Generator, variation: Variation, verb: str, name: str
) -> Iterator[np.ndarray]:
    """Carries out one of the goal's predicates: opens or closes a drawer or a microwave, turns a stove on or off.

    Args:
        environment: reset; the hand is upright.
        rng: draws the variation.
        variation: see `Variation`.
        verb: one of `MOTIONS`.
        name: the drawer's region, the microwave or the stove, as the goal names it.

    Yields:
        Native actions, float32 `[7]`. At their end the hand is upright again, above what it handled.

    Raises:
        ValueError: another verb, or a thing without a known handle.
    """
    if verb not in MOTIONS:
        raise ValueError(f"The goal ({verb!r}, {name!r}) is none of {sorted(MOTIONS)}.")
    owner = environment.problem.owner(name)
    jitter = rng.uniform([-1, -1, 0], 1) * variation.approach_m
    if environment.problem.categories.get(owner) == "microwave" and verb in DOORS:
        yield from DOORS[verb](HandController(environment, rng, variation), owner, jitter)
        return
    if verb in ("turnon", "turnoff"):
        handle = Handle(environment, owner, "button")
    else:
        handle = Handle(environment, owner, name.removeprefix(f"{owner}_").removesuffix("_region"))
        if abs(handle.out()[1]) < 0.9:  # the hand leans about the world's x axis and cannot turn meanwhile
            raise ValueError(
                f"{name!r} opens along {handle.out().round(2)}; this expert reaches drawers along the y axis."
            )
    yield from MOTIONS[verb](HandController(environment, rng, variation), handle, jitter)
