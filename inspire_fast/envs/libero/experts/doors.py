"""Opening and closing a microwave's door: the fingers take its bar from above and pull it open, or push it shut."""

from __future__ import annotations

from collections.abc import Iterator
import itertools

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.controller import CLOSED, OPEN, HandController, raised
from inspire_fast.envs.libero.experts.height_map import rotated

_GRIP_BELOW_TOP_M = (
    0.035  # below the bar's upper end; the door is higher than the bar, so the palm hangs in front of it
)
_OUTSIDE_M = 0.010  # from the bar's middle outwards, so that the palm clears the door
_PUSH_M = 0.020  # from the bar's middle outwards to the closed fingers that push it
_LEAD_RAD = 0.25  # the hand aims this far ahead on the bar's way
_AWAY_M = 0.08


class Door:
    """A hinged door and its upright bar.

    Args:
        environment: reset.
        owner: the microwave.
    """

    def __init__(self, environment: LiberoEnvironment, owner: str) -> None:
        sim = environment.simulator.sim
        self._model, self._data = sim.model._model, sim.data._data
        self._joint = sim.model.joint_name2id(environment.simulator.get_object(owner).joints[0])
        body = self._model.jnt_bodyid[self._joint]
        geoms = [g for g in range(self._model.ngeom) if self._model.geom_bodyid[g] == body]
        capsules = [g for g in geoms if self._model.geom_type[g] == 3]
        if not capsules:
            raise ValueError(f"The door of {owner!r} has no bar to take it by.")
        # Several capsules make the handle; its bar is the longest one.
        self._bar = max(capsules, key=lambda g: self._model.geom_size[g, 1])
        # +1 if the door turns left when it opens, seen from above.
        self._opening = -float(np.sign(self._data.xaxis[self._joint][2]))

    def out(self) -> np.ndarray:
        """Unit vector `[3]` out of the door's front: square to the line from hinge to bar, in the opening direction."""
        along = (self._bar_m() - self._hinge_m()) * [1, 1, 0]
        return rotated(along / np.linalg.norm(along), self._opening * np.pi / 2)

    def beside_bar_m(self, outside_m: float) -> np.ndarray:
        """World point `[3]` in front of the bar, at the height where the fingers take it."""
        bar_m = self._bar_m()
        top_m = float(bar_m[2] + self._model.geom_size[self._bar, 1])
        return np.array([*(bar_m + self.out() * outside_m)[:2], top_m - _GRIP_BELOW_TOP_M])

    def ahead_m(self, point_m: np.ndarray, angle_rad: float) -> np.ndarray:
        """A point moved with the door by an angle; positive opens."""
        hinge = self._hinge_m()
        return hinge + rotated(point_m - hinge, self._opening * angle_rad)

    def heading_rad(self, near_rad: float) -> float:
        """The reachable heading nearest to `near_rad` at which the hand's fingers close along the door.

        A line has the same angle after half a turn; the wrist reaches 1.8 rad to either side.
        """
        out = self.out()
        options = np.arctan2(out[1], out[0]) + np.pi * np.arange(-2, 3)
        reachable = [float(option) for option in options if abs(option) < 1.8]
        return min(reachable, key=lambda option: abs(option - near_rad))

    def _hinge_m(self) -> np.ndarray:
        return np.array(self._data.xanchor[self._joint])

    def _bar_m(self) -> np.ndarray:
        return np.array(self._data.geom_xpos[self._bar])


def open_door(hand: HandController, owner: str, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Takes the bar from above, with fingers that close along the door, and pulls it around the hinge."""
    door = Door(hand.environment, owner)

    def grip() -> np.ndarray:
        return door.beside_bar_m(_OUTSIDE_M)

    hand.yaw_rad = door.heading_rad(hand.heading_rad())
    above = raised(grip(), _AWAY_M + _GRIP_BELOW_TOP_M)
    yield from hand.move(above + jitter, OPEN, tolerance_m=0.02, steps=90)
    yield from hand.grip(grip, steps=12, at_least=5)
    for _ in range(160):
        if ("open", owner) not in hand.environment.unmet():
            break
        hand.yaw_rad = door.heading_rad(hand.heading_rad())
        pull = hand.move(door.ahead_m(grip(), _LEAD_RAD), CLOSED, tolerance_m=0.001, exact=True)
        yield from itertools.islice(pull, 1)
    yield from hand.hold(OPEN, steps=8)
    hand.yaw_rad = None
    up = raised(hand.environment.gripper_m(), _AWAY_M + _GRIP_BELOW_TOP_M) + door.out() * 0.01
    yield from hand.move(up, OPEN, tolerance_m=0.02)


def close_door(hand: HandController, owner: str, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Goes down in front of the bar and pushes it around the hinge with closed fingers."""
    door = Door(hand.environment, owner)
    hand.yaw_rad = door.heading_rad(hand.heading_rad())  # the palm's narrow side points to the door
    start = door.beside_bar_m(_PUSH_M + 0.03)
    above = raised(start, _AWAY_M + _GRIP_BELOW_TOP_M)
    yield from hand.move(above + jitter, CLOSED, tolerance_m=0.02, steps=90)
    yield from hand.move(start, CLOSED, tolerance_m=0.012, exact=True)
    for _ in range(200):
        if ("close", owner) not in hand.environment.unmet():
            break
        hand.yaw_rad = door.heading_rad(hand.heading_rad())
        pushed = door.ahead_m(door.beside_bar_m(_PUSH_M), -_LEAD_RAD)
        push = hand.move(pushed, CLOSED, tolerance_m=0.001, exact=True)
        yield from itertools.islice(push, 1)
    hand.yaw_rad = None
    back = raised(hand.environment.gripper_m(), _AWAY_M) + door.out() * _AWAY_M
    yield from hand.move(back, CLOSED, tolerance_m=0.02)
