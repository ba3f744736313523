"""Proportional control of the gripper through LIBERO's OSC_POSE action, for the scripted experts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from inspire_fast.core.ranges import NotNegative, Range, require_ranges
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.robots.libero import LIBERO

Speed = Annotated[float, Range(0, 1, without_low=True)]
OPEN, CLOSED, KEPT = -1.0, 1.0, 0.0  # the gripper's command is a speed: zero leaves the fingers where they are
# Action per metre of error, and the time by which the velocity is extrapolated. This is twice the stiffness of LIBERO's
# own controller (kp 150, one action is 0.05 m) with as much more damping: full speed (0.25 m/s), no overshoot.
_GAIN = 2 / 0.05
_LEAD_S = 0.05
_TURN_GAIN, _TURN_LIMIT = 2.0, 0.3  # action per radian of error (one action is 0.5 rad)
_TILT_TOLERANCE_RAD = 0.06
_YAW_TOLERANCE_RAD = 0.04


class InfeasibleSceneError(ValueError):
    """The expert cannot solve its task from this initial state; another state of the same task may be feasible."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Differences between demonstrations of one initial state; small by default.

    Attributes:
        approach_m: the points above object and goal are displaced by up to this distance, per horizontal axis.
        speed: range of the top speed, as a fraction of full speed.
        noise: standard deviation of the noise added to free moves, in action units.
    """

    approach_m: NotNegative = 0.015
    speed: tuple[Speed, Speed] = (0.85, 1.0)
    noise: NotNegative = 0.05

    def __post_init__(self) -> None:
        require_ranges(self)
        if self.speed[0] > self.speed[1]:
            raise ValueError(f"A variation's lowest speed comes first; got {self.speed}.")

    @classmethod
    def none(cls) -> Variation:
        """Always the same motion at full speed."""
        return cls(approach_m=0.0, speed=(1.0, 1.0), noise=0.0)


class HandController:
    """Moves of the hand, each a generator of native actions, float32 `[7]`.

    Args:
        environment: executes each action before the next one is requested.
        rng: draws the top speed and the noise.
        variation: their ranges.

    Attributes:
        environment: see above.
        tilt_rad: goal of `lean_rad` during `move` and `hold`; None leaves the lean as it is.
        yaw_rad: goal of `heading_rad` of the upright hand during `move` and `hold`; None leaves it as it is.
    """

    def __init__(self, environment: LiberoEnvironment, rng: np.random.Generator, variation: Variation) -> None:
        self.environment, self._rng, self._noise = environment, rng, variation.noise
        self._limit = rng.uniform(*variation.speed)
        self._opening_m = np.inf
        self.tilt_rad: float | None = None
        self.yaw_rad: float | None = None

    def move(
        self,
        target: np.ndarray | Callable[[], np.ndarray],
        gripper: float,
        *,
        tolerance_m: float,
        exact: bool = False,
        steps: int = 60,
    ) -> Iterator[np.ndarray]:
        """Moves to a point until the hand is there and has its heading.

        Args:
            target: the point, world frame, metres `[3]`, or a function that gives it at every step.
            gripper: command of the fingers.
            tolerance_m: distance at which the move ends.
            exact: without noise.
            steps: the move ends after this many actions in any case.
        """
        before_m = self.environment.gripper_m()
        for _ in range(steps):
            now_m = self.environment.gripper_m()
            error_m = (target() if callable(target) else target) - now_m
            if np.linalg.norm(error_m) < tolerance_m and self.faces():
                return
            velocity = (now_m - before_m) * LIBERO.control_hz
            before_m = now_m
            motion = np.clip(_GAIN * (error_m - _LEAD_S * velocity), -self._limit, self._limit)
            if not exact:
                motion = motion + self._rng.normal(0, self._noise, 3)
            yield self._action(motion, gripper)

    def hold(
        self, gripper: float, *, steps: int, until: Callable[[], bool] = lambda: False, at_least: int = 0
    ) -> Iterator[np.ndarray]:
        """Stays in place while the fingers move: at most `steps`, and `at_least` that many before `until` ends it."""
        for step in range(steps):
            if until() and step >= at_least:
                return
            yield self._action(np.zeros(3), gripper)

    def grip(self, point: np.ndarray | Callable[[], np.ndarray], *, steps: int, at_least: int) -> Iterator[np.ndarray]:
        """Moves exactly to a point and closes the fingers there, for up to `steps` and `at_least` that many actions."""
        yield from self.move(point, OPEN, tolerance_m=0.006, exact=True, steps=50)
        yield from self.hold(CLOSED, steps=steps, until=self.still, at_least=at_least)

    def let_go(self, up_m: float) -> Iterator[np.ndarray]:
        """Opens the fingers and moves up by `up_m`."""
        yield from self.hold(OPEN, steps=8)
        yield from self.move(raised(self.environment.gripper_m(), up_m), OPEN, tolerance_m=0.02)

    def turn(self, rate: float, gripper: float, *, steps: int, until: Callable[[], bool]) -> Iterator[np.ndarray]:
        """Turns in place about the world's vertical axis; `rate` in action units, positive is left seen from above."""
        for _ in range(steps):
            if until():
                return
            yield _action(np.zeros(3), 0.0, np.clip(rate * self._limit, -1, 1), gripper)

    def upright(self, gripper: float) -> Iterator[np.ndarray]:
        """Turns leaning fingers back to the vertical, in place."""
        self.tilt_rad = 0.0
        yield from self.hold(gripper, steps=40, until=self.leans)
        self.tilt_rad = None

    def lean_rad(self) -> float:
        """The fingers' angle from the vertical about the world's x axis: positive if they point to +y."""
        pointing = self._axes()[:, 2]
        return float(np.arctan2(pointing[1], -pointing[2]))

    def leans(self) -> bool:
        """The fingers lean by `tilt_rad`."""
        return self.tilt_rad is None or abs(self.lean_rad() - self.tilt_rad) < _TILT_TOLERANCE_RAD

    def heading_rad(self) -> float:
        """The upright hand's angle about the world's vertical axis."""
        aside = self._axes()[:, 0]
        return float(np.arctan2(aside[1], aside[0]))

    def faces(self) -> bool:
        """The hand is turned by `yaw_rad`."""
        return abs(self._yaw_error_rad()) < _YAW_TOLERANCE_RAD

    def still(self) -> bool:
        """The fingers have moved by less than half a millimetre since the last call."""
        before_m, self._opening_m = self._opening_m, float(np.ptp(self.environment.state()[-2:]))
        return abs(before_m - self._opening_m) < 5e-4

    def _axes(self) -> np.ndarray:
        """The hand's own axes as columns `[3, 3]`, from the state's axis times angle (Rodrigues' formula)."""
        turn = self.environment.state()[3:6].astype(float)
        angle = float(np.linalg.norm(turn))
        x, y, z = turn / max(angle, 1e-9)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross

    def _yaw_error_rad(self) -> float:
        if self.yaw_rad is None:
            return 0.0
        error = self.yaw_rad - self.heading_rad()
        return float((error + np.pi) % (2 * np.pi) - np.pi)

    def _action(self, motion: np.ndarray, gripper: float) -> np.ndarray:
        """A motion together with the turns towards `tilt_rad` and `yaw_rad`."""
        tilt_error = 0.0 if self.tilt_rad is None else self.tilt_rad - self.lean_rad()
        lean, yaw = np.clip(_TURN_GAIN * np.array([tilt_error, self._yaw_error_rad()]), -_TURN_LIMIT, _TURN_LIMIT)
        return _action(motion, lean, yaw, gripper)


def raised(point_m: np.ndarray, height_m: float) -> np.ndarray:
    """A point `[3]`, `height_m` higher."""
    return point_m + np.array([0.0, 0.0, height_m])


def _action(motion: np.ndarray, lean: float, yaw: float, gripper: float) -> np.ndarray:
    return np.array([*np.clip(motion, -1, 1), lean, 0, yaw, gripper], dtype=np.float32)
