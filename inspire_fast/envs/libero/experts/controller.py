"""The scripted experts' hand: proportional control of the gripper through LIBERO's OSC_POSE action."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.robots.libero import LIBERO

OPEN, CLOSED, KEPT = -1.0, 1.0, 0.0  # the gripper's command is a speed: zero keeps the fingers where they are
# Action per metre of error, and seconds of motion that count as error: twice the controller's own stiffness (kp 150, one
# action is 0.05 m) with as much more damping, so that the hand runs at full speed (0.25 m/s) and stops without overshoot.
_GAIN = 2 / 0.05
_LEAD_S = 0.05
_TILT_GAIN, _TILT_LIMIT = 2.0, 0.3  # action per radian of error (one action is 0.5 rad)
_TILT_TOLERANCE_RAD = 0.06
_YAW_TOLERANCE_RAD = 0.04


class InfeasibleSceneError(ValueError):
    """The expert cannot solve its task from this initial state; another state of the same task may be feasible."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """What makes demonstrations of one initial state differ. The default varies a little; `Variation.none()` does not.

    Attributes:
        approach_m: the points above object and goal are displaced by up to this much, per horizontal axis.
        speed: range of the top speed, as a fraction of full.
        noise: standard deviation of what is added to the motion of free moves, in action units.
    """

    approach_m: float = 0.015
    speed: tuple[float, float] = (0.85, 1.0)
    noise: float = 0.05

    def __post_init__(self) -> None:
        if not (self.approach_m >= 0 and self.noise >= 0 and 0 < self.speed[0] <= self.speed[1] <= 1):
            raise ValueError(f"A variation needs approach_m, noise >= 0 and 0 < speed <= 1, low first; got {self}.")

    @classmethod
    def none(cls) -> Variation:
        """Always the same motion at full speed."""
        return cls(approach_m=0.0, speed=(1.0, 1.0), noise=0.0)


class Hand:
    """Moves, holds and turns, each a generator of native actions, float32 `[7]`.

    Args:
        environment: what the actions are executed in between two of them.
        rng: decides the top speed and the noise.
        variation: their ranges.

    Attributes:
        tilt_rad: how far the fingers are to lean (see `lean_rad`) during moves and holds; None: no turning is commanded.
        yaw_rad: the heading (see `heading_rad`) that the upright hand is to have during moves and holds; None: as it is.
    """

    def __init__(self, environment: LiberoEnvironment, rng: np.random.Generator, variation: Variation) -> None:
        self._environment, self._rng, self._noise = environment, rng, variation.noise
        self._limit = rng.uniform(*variation.speed)
        self._opening_m = np.inf
        self.tilt_rad: float | None = None
        self.yaw_rad: float | None = None

    def move(
        self,
        target: Callable[[], np.ndarray],
        gripper: float,
        *,
        tolerance_m: float,
        exact: bool = False,
        steps: int = 60,
    ) -> Iterator[np.ndarray]:
        """Towards a point, looked up anew at every step, until within `tolerance_m` and turned as it is to be.

        `exact` moves carry no noise.
        """
        before_m = self._environment.gripper_m()
        for _ in range(steps):
            now_m = self._environment.gripper_m()
            error_m = target() - now_m
            if np.linalg.norm(error_m) < tolerance_m and self.faces():
                return
            velocity = (now_m - before_m) * LIBERO.control_hz
            before_m = now_m
            motion = np.clip(_GAIN * (error_m - _LEAD_S * velocity), -self._limit, self._limit)
            if not exact:
                motion = motion + self._rng.normal(0, self._noise, 3)
            yield _action(motion, gripper, leaning=self._leaning(), turning=self._turning())

    def hold(
        self, gripper: float, *, steps: int, until: Callable[[], bool] = lambda: False, at_least: int = 0
    ) -> Iterator[np.ndarray]:
        """Stays while the fingers move: `steps` at most, `at_least` before `until` ends it."""
        for step in range(steps):
            if until() and step >= at_least:
                return
            yield _action(np.zeros(3), gripper, leaning=self._leaning(), turning=self._turning())

    def turn(self, rate: float, gripper: float, *, steps: int, until: Callable[[], bool]) -> Iterator[np.ndarray]:
        """Turns about the world's vertical axis, where it is; `rate` in action units, positive: to the left from above."""
        for _ in range(steps):
            if until():
                return
            yield _action(np.zeros(3), gripper, turning=rate * self._limit)

    def upright(self, gripper: float) -> Iterator[np.ndarray]:
        """Brings leaning fingers back to the vertical, where the hand is."""
        self.tilt_rad = 0.0
        yield from self.hold(gripper, steps=40, until=lambda: abs(self.lean_rad()) < _TILT_TOLERANCE_RAD)
        self.tilt_rad = None

    def lean_rad(self) -> float:
        """The fingers' lean from the vertical about the world's x axis: positive where they point to +y."""
        pointing = self._axes()[:, 2]
        return float(np.arctan2(pointing[1], -pointing[2]))

    def leans(self) -> bool:
        """The fingers lean as they are to."""
        return self.tilt_rad is None or abs(self.lean_rad() - self.tilt_rad) < _TILT_TOLERANCE_RAD

    def heading_rad(self) -> float:
        """How the upright hand is turned about the world's vertical axis."""
        aside = self._axes()[:, 0]
        return float(np.arctan2(aside[1], aside[0]))

    def faces(self) -> bool:
        """The hand is turned as it is to be."""
        return self.yaw_rad is None or abs(self._yaw_error_rad()) < _YAW_TOLERANCE_RAD

    def _yaw_error_rad(self) -> float:
        error = (self.yaw_rad or 0.0) - self.heading_rad()
        return float((error + np.pi) % (2 * np.pi) - np.pi)

    def _turning(self) -> float:
        if self.yaw_rad is None:
            return 0.0
        return float(np.clip(_TILT_GAIN * self._yaw_error_rad(), -_TILT_LIMIT, _TILT_LIMIT))

    def _axes(self) -> np.ndarray:
        """The hand's own axes as columns `[3, 3]`, from the state's axis times angle (Rodrigues' formula)."""
        turn = self._environment.state()[3:6].astype(float)
        angle = float(np.linalg.norm(turn))
        x, y, z = turn / max(angle, 1e-9)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross

    def _leaning(self) -> float:
        if self.tilt_rad is None:
            return 0.0
        return float(np.clip(_TILT_GAIN * (self.tilt_rad - self.lean_rad()), -_TILT_LIMIT, _TILT_LIMIT))

    def opening_m(self) -> float:
        """How far the fingers are apart."""
        return float(np.ptp(self._environment.state()[-2:]))

    def still(self) -> bool:
        """The fingers have not moved by half a millimetre since this was last asked."""
        before_m, self._opening_m = self._opening_m, self.opening_m()
        return abs(before_m - self._opening_m) < 5e-4


def raised(point_m: np.ndarray, height_m: float) -> np.ndarray:
    """A point `[3]` so many metres higher."""
    return point_m + np.array([0.0, 0.0, height_m])


def _action(motion: np.ndarray, gripper: float, *, leaning: float = 0.0, turning: float = 0.0) -> np.ndarray:
    return np.array([*np.clip(motion, -1, 1), leaning, 0, np.clip(turning, -1, 1), gripper], dtype=np.float32)
