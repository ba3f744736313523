"""Picking a thing up and putting it in or on its place, repeated until the simulator says that it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.controller import (
    CLOSED,
    OPEN,
    HandController,
    InfeasibleSceneError,
    Variation,
    raised,
)
from inspire_fast.envs.libero.experts.grasps import Grasp, candidates
from inspire_fast.envs.libero.experts.height_map import HeightMap, scene_points, table_height_m, thing_points
from inspire_fast.envs.libero.experts.placing import Placer, half_size_m, highest_between, spots, way_out_m

_ATTEMPTS = 4
_LOOKED_AT = 24  # grasps for which a placement is searched
_LIFT_M = 0.05
_DRAWN_M = 0.01  # height at which a thing is drawn from under another
_SLIP_M = 0.06  # a thing whose distance from the hand changes by more has slipped away
_CLEARANCE_M = 0.03  # between what is carried, or the open hand, and what it passes over
_RETREAT_M = 0.1  # the hand moves up this far after it has let go
_ABOVE_M = 0.035  # the hand comes to rest this far over a thing's top before it goes down


class PickAndPlace:
    """Moves one thing to its place.

    Args:
        environment: reset.
        rng: draws the variation.
        variation: see `Variation`.
        goal: `(verb, thing, place)`, the predicate to achieve.
    """

    def __init__(
        self,
        environment: LiberoEnvironment,
        rng: np.random.Generator,
        variation: Variation,
        goal: tuple[str, str, str],
    ) -> None:
        self._environment, self._rng, self._variation = environment, rng, variation
        self._goal, (self._verb, self._thing, self._place) = goal, goal
        self._hand = HandController(environment, rng, variation)
        self._floor_m = table_height_m(environment)
        self._failed: list[Grasp] = []
        self._start_m = self._hung_m = 0.0

    def run(self) -> Iterator[np.ndarray]:
        """Native actions, float32 `[7]`, until the goal holds with the hand off the thing, or no attempt is left.

        Raises:
            InfeasibleSceneError: no grasp was found, or the place cannot be reached from above.
        """
        for _ in range(_ATTEMPTS):
            grasp = self._choose()
            yield from self._pick(grasp)
            if float(self._environment.position_m(self._thing)[2]) - self._start_m < _LIFT_M / 3:
                self._failed.append(grasp)
                yield from self._hand.let_go(_RETREAT_M)
                continue
            yield from self._put()
            if self._goal not in self._environment.unmet():
                return

    def transfer(self) -> Iterator[np.ndarray]:
        """The second half of `run`, for a thing that is held already: carries it to its place and lets go."""
        return self._put()

    def _choose(self) -> Grasp:
        """The grasp that costs least together with the best placement for it."""
        environment = self._environment
        thing, others = self._points()
        grasps = candidates(thing, others, self._floor_m)
        if not grasps:
            low, high = environment.bounds_m(self._thing)
            raise InfeasibleSceneError(
                f"No grasp from above was found on {self._thing!r}, which reaches from {low.round(3)} to "
                f"{high.round(3)}: it is covered, too wide, or too closely surrounded."
            )
        placer, origin = self._placer(thing, others), environment.position_m(self._thing)
        spread = 4 * self._variation.approach_m
        choices = []
        for grasp in grasps[:_LOOKED_AT]:
            placement = placer.best(grasp.point_m - origin, grasp.yaw_rad)
            cost = grasp.cost + placement.cost + self._penalty(grasp) + self._rng.uniform(0, spread)
            choices.append((cost, grasp, placement.rest_m))
        _, best, rest_m = min(choices, key=lambda choice: choice[0])
        half = half_size_m(environment, self._place)
        top = environment.position_m(self._place)[2] + half[2]
        if self._verb == "in" and half.any() and rest_m > top:
            raise InfeasibleSceneError(
                f"{self._place!r} is covered: {self._thing!r} put down from above comes to rest at {rest_m:.3f} m, "
                f"the region ends at {top:.3f} m. The expert cannot put things in from the side."
            )
        return best

    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        """Points of the thing `[n, 3]`, and of everything else."""
        return thing_points(self._environment, self._thing), scene_points(self._environment, [self._thing])

    def _placer(self, thing: np.ndarray, others: np.ndarray) -> Placer:
        places = spots(self._environment, self._goal)
        ground = HeightMap.of(others, places[0], 0.35, self._floor_m)
        return Placer(ground, places, thing - self._environment.position_m(self._thing))

    def _penalty(self, grasp: Grasp) -> float:
        """Cost of grasps that resemble failed ones."""
        return sum(
            1.0
            for failed in self._failed
            if np.linalg.norm(failed.point_m - grasp.point_m) < 0.02 and abs(failed.yaw_rad - grasp.yaw_rad) < 0.3
        )

    def _pick(self, grasp: Grasp) -> Iterator[np.ndarray]:
        """Moves over the thing, down, closes, lifts a little."""
        environment, hand = self._environment, self._hand
        jitter = self._rng.uniform([-1, -1, 0], 1) * self._variation.approach_m
        self._start_m = float(environment.position_m(self._thing)[2])
        top_m = float(environment.bounds_m(self._thing)[1][2])
        hand.yaw_rad = grasp.yaw_rad
        above = grasp.point_m * [1, 1, 0] + [0, 0, max(top_m, grasp.point_m[2]) + _ABOVE_M] + jitter
        yield from self._over(above, OPEN)
        yield from hand.grip(lambda: _funnel(grasp.point_m, environment.gripper_m()), steps=12, at_least=5)
        out = way_out_m(*self._points(), self._floor_m)
        if out.any():  # from under an open drawer
            drawn = raised(environment.gripper_m() + out, _DRAWN_M)
            yield from hand.move(drawn, CLOSED, tolerance_m=0.01, exact=True)
        lifted = raised(environment.gripper_m(), _LIFT_M)
        yield from hand.move(lifted, CLOSED, tolerance_m=0.01, steps=25)

    def _over(self, above: np.ndarray, gripper: float) -> Iterator[np.ndarray]:
        """Moves up far enough to pass over everything on the way, then to the point."""
        environment, hand = self._environment, self._hand
        here = environment.gripper_m()
        passed = highest_between(scene_points(environment), here, above, 0.06) + _CLEARANCE_M
        height = max(float(above[2]), passed)
        if here[2] < height - 0.02:
            up = np.array([*here[:2], height])
            yield from hand.move(up, gripper, tolerance_m=0.03)
        across = np.array([*above[:2], height])
        yield from hand.move(across, gripper, tolerance_m=0.025, steps=80)
        yield from hand.move(above, gripper, tolerance_m=0.025)

    def _put(self) -> Iterator[np.ndarray]:
        """Moves up, across and down, lets go, moves up; plans with the thing as it hangs now."""
        environment, hand = self._environment, self._hand
        thing, others = self._points()
        grip, origin, self._hung_m = environment.gripper_m(), environment.position_m(self._thing), self._apart_m()
        placement = self._placer(thing, others).best(grip - origin, hand.heading_rad())
        hangs_m = float(origin[2] - thing[:, 2].min())
        radius_m = float(np.linalg.norm(thing[:, :2] - grip[:2], axis=1).max()) + 0.01
        passed = highest_between(others, origin, placement.origin_m, min(radius_m, 0.12))
        height = max(passed + _CLEARANCE_M + hangs_m, float(placement.origin_m[2]) + 0.02)

        def carry(
            target_m: np.ndarray,
        ) -> Callable[[], np.ndarray]:  # the hand's goal that brings the thing's origin there
            return lambda: environment.gripper_m() + target_m - environment.position_m(self._thing)

        up = np.array([*origin[:2], max(height, float(origin[2]))])
        yield from self._while_held(hand.move(carry(up), CLOSED, tolerance_m=0.03))
        hand.yaw_rad = hand.heading_rad() + placement.turn_rad
        across = np.array([*placement.origin_m[:2], height])
        yield from self._while_held(hand.move(carry(across), CLOSED, tolerance_m=0.012, steps=100))
        if not self._lost():
            yield from self._down(hand.move(carry(placement.origin_m), CLOSED, tolerance_m=0.005, exact=True))
            yield from hand.hold(OPEN, steps=10, until=lambda: not environment.holds(self._thing), at_least=3)
        yield from self._hand.let_go(_RETREAT_M)
        hand.yaw_rad = None

    def _while_held(self, motion: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The motion, ended when the thing has slipped away."""
        for action in motion:
            if self._lost():
                return
            yield action

    def _lost(self) -> bool:
        return abs(self._apart_m() - self._hung_m) > _SLIP_M

    def _apart_m(self) -> float:
        """Distance from the grip site to the thing's origin."""
        return float(np.linalg.norm(self._environment.position_m(self._thing) - self._environment.gripper_m()))

    def _down(self, motion: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The motion, ended by an obstacle: the hand moved by less than a millimetre in four steps."""
        heights: list[float] = []
        for action in motion:
            heights.append(float(self._environment.gripper_m()[2]))
            if len(heights) > 12 and heights[-5] - heights[-1] < 1e-3:
                return
            yield action


def _funnel(grasp_m: np.ndarray, gripper_m: np.ndarray) -> np.ndarray:
    """The grasp point, raised while the hand is off to the side, so that no finger comes down on the thing."""
    aside_m = float(np.linalg.norm((grasp_m - gripper_m)[:2]))
    return raised(grasp_m, float(np.clip(5 * (aside_m - 0.006), 0, 0.05)))
