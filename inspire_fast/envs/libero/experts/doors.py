"""A microwave's door: opened by its handle, which the fingers take from above, and pushed shut at it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.controller import CLOSED, OPEN, Hand, raised
from inspire_fast.envs.libero.experts.height_map import turned

_GRIP_BELOW_TOP_M = 0.035  # of the handle, which the door's top overtops; the palm hangs in front of the door
_OUTSIDE_M = 0.010  # from the bar's middle outwards, so that the palm clears the door
_PUSH_M = 0.020  # from the bar's middle to closed fingers outside of it
_LEAD_RAD = 0.25  # how far ahead on its way the handle is drawn
_AWAY_M = 0.08


class Door:
    """A hinged door and its upright bar.

    Args:
        environment: reset.
        owner: the microwave.
    """

    def __init__(self, environment: LiberoEnvironment, owner: str) -> None:
        self._sim = environment.simulator.sim
        model = environment.simulator.get_object(owner)
        self._joint = self._sim.model.joint_name2id(model.joints[0])
        body = self._sim.model._model.jnt_bodyid[self._joint]
        geoms = [g for g in range(self._sim.model._model.ngeom) if self._sim.model._model.geom_bodyid[g] == body]
        capsules = [g for g in geoms if self._sim.model._model.geom_type[g] == 3]
        if not capsules:
            raise ValueError(f"The door of {owner!r} has no bar to take it by.")
        # The bar is the longest of the capsules that make the handle.
        self._bar = max(capsules, key=lambda g: self._sim.model._model.geom_size[g, 1])

    def hinge_m(self) -> np.ndarray:
        """A point of the hinge's axis, world frame, `[3]`."""
        return np.array(self._sim.data._data.xanchor[self._joint])

    def bar_m(self) -> np.ndarray:
        """The bar's middle, `[3]`."""
        return np.array(self._sim.data._data.geom_xpos[self._bar])

    def bar_top_m(self) -> float:
        """The bar's upper end, height."""
        return float(self.bar_m()[2] + self._sim.model._model.geom_size[self._bar, 1])

    def out(self) -> np.ndarray:
        """Unit vector `[3]` off the door's outer face: square to the way from the hinge to the bar, on the bar's side."""
        along = (self.bar_m() - self.hinge_m()) * [1, 1, 0]
        return turned(along / np.linalg.norm(along), self._side() * np.pi / 2)

    def angle_rad(self) -> float:
        """The joint's own angle: 0 closed, negative open."""
        return float(self._sim.data._data.qpos[self._sim.model._model.jnt_qposadr[self._joint]])

    def opening_turn(self) -> float:
        """Which way the door turns when it opens: +1 to the left, seen from above."""
        return -float(np.sign(self._sim.data._data.xaxis[self._joint][2]))

    def _side(self) -> float:
        return self.opening_turn()  # a door opens towards its outer face

    def ahead_m(self, point_m: np.ndarray, angle_rad: float) -> np.ndarray:
        """A point moved with the door by an angle; positive opens."""
        hinge = self.hinge_m()
        return hinge + turned(point_m - hinge, self.opening_turn() * angle_rad)


def open_door(environment: LiberoEnvironment, hand: Hand, owner: str, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Takes the bar from above with fingers that close along the door, and draws it around the hinge."""
    door = Door(environment, owner)

    def grip() -> np.ndarray:
        return np.array([*(door.bar_m() + door.out() * _OUTSIDE_M)[:2], door.bar_top_m() - _GRIP_BELOW_TOP_M])

    def along() -> float:  # the heading at which the fingers close along the door, which way round is nearer to zero
        out = door.out()
        return _nearest(float(np.arctan2(out[1], out[0])), hand.heading_rad())

    hand.yaw_rad = along()
    above = raised(grip(), _AWAY_M + _GRIP_BELOW_TOP_M)
    yield from hand.move(lambda: above + jitter, OPEN, tolerance_m=0.02, steps=90)
    yield from hand.move(grip, OPEN, tolerance_m=0.006, exact=True, steps=50)
    yield from hand.hold(CLOSED, steps=12, until=hand.still, at_least=5)
    for _ in range(160):
        if ("open", owner) not in environment.unmet():
            break
        hand.yaw_rad = along()
        yield from _one(hand.move(lambda: door.ahead_m(grip(), _LEAD_RAD), CLOSED, tolerance_m=0.001, exact=True))
    yield from hand.hold(OPEN, steps=8)
    hand.yaw_rad = None
    up = raised(environment.gripper_m(), _AWAY_M + _GRIP_BELOW_TOP_M) + door.out() * 0.01
    yield from hand.move(lambda: up, OPEN, tolerance_m=0.02)


def close_door(environment: LiberoEnvironment, hand: Hand, owner: str, jitter: np.ndarray) -> Iterator[np.ndarray]:
    """Goes down outside of the bar and pushes it around the hinge with closed fingers."""
    door = Door(environment, owner)

    def beside(outside_m: float) -> np.ndarray:
        return np.array([*(door.bar_m() + door.out() * outside_m)[:2], door.bar_top_m() - _GRIP_BELOW_TOP_M])

    def across() -> float:  # the heading at which the palm's narrow side points to the door
        out = door.out()
        return _nearest(float(np.arctan2(out[1], out[0])), hand.heading_rad())

    hand.yaw_rad = across()
    start = beside(_PUSH_M + 0.03)
    above = raised(start, _AWAY_M + _GRIP_BELOW_TOP_M)
    yield from hand.move(lambda: above + jitter, CLOSED, tolerance_m=0.02, steps=90)
    yield from hand.move(lambda: start, CLOSED, tolerance_m=0.012, exact=True)
    for _ in range(200):
        if ("close", owner) not in environment.unmet():
            break
        hand.yaw_rad = across()
        pushed = door.ahead_m(beside(_PUSH_M), -_LEAD_RAD)
        yield from _one(hand.move(lambda point=pushed: point, CLOSED, tolerance_m=0.001, exact=True))
    hand.yaw_rad = None
    back = raised(environment.gripper_m(), _AWAY_M) + door.out() * _AWAY_M
    yield from hand.move(lambda: back, CLOSED, tolerance_m=0.02)


def _one(motion: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Only the first action."""
    for action in motion:
        yield action
        return


def _nearest(line_rad: float, to_rad: float) -> float:
    """The same line's angle, modulo half a turn, within reach of the wrist and nearest to another."""
    options = [line_rad + k * np.pi for k in (-2, -1, 0, 1, 2)]
    reachable = [option for option in options if abs(option) < 1.8]
    return min(reachable, key=lambda option: abs(option - to_rad))
