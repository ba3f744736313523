"""Scripted experts: they solve tasks from privileged simulator state, so that a user without data sets has demonstrations.

An expert is a generator over an environment that has been reset: it looks at the state, yields one action, and looks
again once the caller has executed it. It ends when it has nothing left to try; whether the task is solved is the
simulator's word (`environment.success`), never the expert's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from inspire_fast.core.registry import Registry
from inspire_fast.envs.articulated import MOTIONS, articulate
from inspire_fast.envs.hand import CLOSED, OPEN, Hand, Variation, raised
from inspire_fast.envs.libero import LiberoEnvironment

_HALF_OPENING_M = 0.037  # the gripper opens to +-0.04 m; an object wider than this is taken by its rim
_RIM_INSET_M = 0.006  # from a rim's outside to the middle of its wall
_GRASP_DEPTH_M = 0.03  # how far below an object's top the finger tips go
_LIFT_M = 0.05  # how far the object is lifted before it is carried off sideways
_CLEARANCE_M = 0.035  # room between what is carried and what it passes over


def pick_and_place(
    environment: LiberoEnvironment, rng: np.random.Generator, variation: Variation
) -> Iterator[np.ndarray]:
    """Picks up what the goal wants moved and puts it in or on its place: above, down, close, lift, over, lower, open, up.

    Objects narrower than the gripper are taken in the middle, others by the rim on the side with more room. The hand does
    not turn, and the way is not planned around obstacles: what is closely surrounded, in a drawer or on a cabinet, may
    fail.

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
    yield from _transfer(environment, rng, variation, *placements[0])


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
    for thing, place in placements:
        yield from _transfer(environment, rng, variation, thing, place)


def carry_out(environment: LiberoEnvironment, rng: np.random.Generator, variation: Variation) -> Iterator[np.ndarray]:
    """Does everything that the goal wants: opens and closes drawers, turns stoves on, picks and places.

    What has to be open or on comes first, a drawer that something goes into is closed last. Top drawers and the middle one
    open reliably; for the bottom ones the table leaves the leaning hand no room.

    Raises:
        ValueError: the goal wants something else besides (microwaves, turning off); lists what is known.
    """
    goal = environment.problem.goal
    placements = _placements(environment)
    handled = [(p[0], p[1]) for p in goal if p[0] in MOTIONS]
    if not goal or len(placements) + len(handled) != len(goal):
        raise ValueError(
            f"carry_out solves goals of {sorted(MOTIONS)}, on and in; {environment.prompt!r} wants {list(goal)}."
        )
    filled = {place for _, place in placements}
    late = [(verb, name) for verb, name in handled if verb == "close" and name in filled]
    for verb, name in handled:
        if (verb, name) not in late:
            yield from articulate(environment, rng, variation, verb, name)
    for thing, place in placements:
        yield from _transfer(environment, rng, variation, thing, place)
    for verb, name in late:
        yield from articulate(environment, rng, variation, verb, name)


def _transfer(
    environment: LiberoEnvironment, rng: np.random.Generator, variation: Variation, thing: str, place: str
) -> Iterator[np.ndarray]:
    """Above, down, close, lift, over, lower, open, up."""
    hand = Hand(environment, rng, variation)
    grasp = _grasp_point(environment, thing)
    jitter = rng.uniform([-1, -1, 0], 1) * variation.approach_m
    above = raised(grasp, _GRASP_DEPTH_M + 0.03) + jitter  # the finger tips stay clear of the object's top
    yield from hand.move(lambda: above, OPEN, tolerance_m=0.025)
    yield from hand.move(lambda: _funnel(grasp, environment.gripper_m()), OPEN, tolerance_m=0.008, exact=True, steps=40)
    yield from hand.hold(CLOSED, steps=10, until=hand.still, at_least=4)

    lifted = raised(environment.gripper_m(), _LIFT_M)
    yield from hand.move(lambda: lifted, CLOSED, tolerance_m=0.02)
    floor_m, rim_m = _heights(environment, place)

    def carry_to(height_m: float) -> Callable[[], np.ndarray]:
        """Where the gripper must be for what hangs in it, however it hangs now, to be over the place at this height."""

        def target() -> np.ndarray:
            goal_m, thing_m = environment.position_m(place), environment.position_m(thing)
            underside_m = environment.bounds_m(thing)[0][2]
            aside_m = (goal_m - thing_m) * [1, 1, 0]
            return raised(environment.gripper_m() + aside_m, height_m - underside_m)

        return target

    yield from hand.move(carry_to(rim_m + _CLEARANCE_M), CLOSED, tolerance_m=0.012)
    yield from hand.move(carry_to(floor_m), CLOSED, tolerance_m=0.008, exact=True)
    yield from hand.hold(OPEN, steps=10, until=lambda: not environment.holds(thing))
    retreat = raised(environment.gripper_m(), 0.1)
    yield from hand.move(lambda: retreat, OPEN, tolerance_m=0.02)
    yield from hand.hold(OPEN, steps=6)


def _placements(environment: LiberoEnvironment) -> list[tuple[str, str]]:
    """The goal's `(object, place)` pairs, in its order."""
    return [(p[1], p[2]) for p in environment.problem.goal if p[0] in ("on", "in") and len(p) == 3]


def _grasp_point(environment: LiberoEnvironment, thing: str) -> np.ndarray:
    """Where the finger tips close: around the middle, or on the rim. The fingers close along the world's y axis."""
    low, high = environment.bounds_m(thing)
    middle = np.array([*((low + high) / 2)[:2], max(high[2] - _GRASP_DEPTH_M, (low[2] + high[2]) / 2)])
    half_width = (high - low)[1] / 2
    if half_width < _HALF_OPENING_M:
        return middle
    sides = [middle + np.array([0, sign * (half_width - _RIM_INSET_M), 0]) for sign in (-1, 1)]
    others = [o for o in environment.movable if o != thing]
    gripper_m = environment.gripper_m()

    def room(side: np.ndarray) -> tuple[float, float]:
        outside = side[:2] + np.array([0, np.sign(side[1] - middle[1]) * _HALF_OPENING_M])
        gaps = [_gap_m(outside, *environment.bounds_m(other)) for other in others]
        # Enough room is enough; then the nearer side.
        return min([0.03, *gaps]), -float(np.linalg.norm(side - gripper_m))

    return max(sides, key=room)


def _funnel(grasp_m: np.ndarray, gripper_m: np.ndarray) -> np.ndarray:
    """The grasp point, raised while the hand is still beside it, so that no finger comes down on the object."""
    aside_m = float(np.linalg.norm((grasp_m - gripper_m)[:2]))
    return raised(grasp_m, float(np.clip(5 * (aside_m - 0.006), 0, _GRASP_DEPTH_M + 0.02)))


def _gap_m(point: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Horizontal distance from a point `[2]` to a box."""
    return float(np.linalg.norm(np.maximum(0, np.maximum(low[:2] - point, point - high[:2]))))


def _heights(environment: LiberoEnvironment, place: str) -> tuple[float, float]:
    """World heights, metres: where the object's underside is let go, and what has to be passed over on the way."""
    owner = environment.problem.owner(place)
    if owner not in environment.bodies:  # a region of the table
        surface_m = float(environment.position_m(place)[2])
        return surface_m, surface_m
    low, high = environment.bounds_m(owner)
    if place == owner:  # on an object: down to its surface
        return float(low[2] + high[2]) / 2, float(high[2])
    return float(high[2]) - 0.02, float(high[2])  # in a container: just below its rim


Expert = Callable[[LiberoEnvironment, np.random.Generator, Variation], Iterator[np.ndarray]]
EXPERTS: Registry[Expert] = Registry(
    "expert", {"pick_and_place": pick_and_place, "pick_and_place_each": pick_and_place_each, "carry_out": carry_out}
)
