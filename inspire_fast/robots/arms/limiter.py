"""Jerk limiter: follows a moving target within limits of velocity, acceleration and jerk, and never passes a limit.

After every step a way to stop remains that keeps all limits. A joint's stop from velocity v and acceleration a has
three parts of constant jerk (-j, 0, j, mirrored where the joint moves backwards); of all jerks of the coming step the
limiter takes the one whose stop ends nearest the target.
"""

from __future__ import annotations

import numpy as np

from inspire_fast.robots.arms.limits import MotionLimits

_ROUNDS, _CHOICES = 2, 65  # the jerk is found to 1/4096 of its range
_SHARES = np.linspace(0.0, 1.0, _CHOICES)[:, None]
_MARGIN = 1e-9  # of rounding


class JerkLimiter:
    """State of `n` joints that follow a target.

    Attributes:
        position, velocity, acceleration: `[n]`; rad and s.
    """

    def __init__(self, limits: MotionLimits, position: np.ndarray, *, dt_s: float) -> None:
        """Starts at rest; a step lasts `dt_s`.

        A jerk that changes the acceleration by more than half of its limit per step is reduced to that: with a larger
        one a joint would tremble around its target, as it could never stop within a step.

        Raises:
            ValueError: the position is beyond the limits.
        """
        limits.require_inside(position, "The position to start from")
        if not dt_s > 0:
            raise ValueError(f"dt_s must be > 0; got {dt_s}.")
        self._limits, self._dt_s = limits, dt_s
        self._jerk = np.minimum(limits.jerk, limits.acceleration / (2 * dt_s))
        self.position = np.array(position, np.float64)
        self.velocity, self.acceleration = np.zeros_like(self.position), np.zeros_like(self.position)

    @property
    def stop_position(self) -> np.ndarray:
        """Where the joints come to rest if they brake now, `[n]`."""
        return self._stop(self.position, self.velocity, self.acceleration)

    def advance(self, target: np.ndarray) -> np.ndarray:
        """Moves on by a step towards a target `[n]`, which is first clipped to the limits; returns the position."""
        target = self._limits.clip(target)
        low, high, columns = -self._jerk, self._jerk, np.arange(len(target))
        low_is_too_little = np.zeros(len(target), bool)
        for _ in range(_ROUNDS):
            jerks = low + _SHARES * (high - low)
            too_much, too_little = self._judge(jerks, target)
            index = np.clip((~too_much).sum(axis=0) - 1, 0, _CHOICES - 2)
            low, high = jerks[index, columns], jerks[index + 1, columns]
            low_is_too_little = too_little[index, columns]
        chosen = np.where(low_is_too_little, high, low)
        self.position, self.velocity, self.acceleration = self._after(chosen)
        return self.position

    def _after(self, jerk: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The state after a step with a jerk `[..., n]`, which ends where the acceleration reaches its limit."""
        x, v, a, dt_s = self.position, self.velocity, self.acceleration, self._dt_s
        change = np.clip(a + jerk * dt_s, -self._limits.acceleration, self._limits.acceleration) - a
        ramp_s = np.where(jerk == 0, dt_s, change / np.where(jerk == 0, 1.0, jerk))
        flat_s = dt_s - ramp_s
        x, v, a = x + ramp_s * (v + ramp_s * (a / 2 + jerk * ramp_s / 6)), v + ramp_s * (a + change / 2), a + change
        return x + flat_s * (v + a * flat_s / 2), v + a * flat_s, a

    def _judge(self, jerks: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Jerks `[k, n]`, ascending -> larger than allowed or useful (false, then true); smaller than allowed."""
        limits, (x, v, a) = self._limits, self._after(jerks)
        fastest = v + a * np.abs(a) / (2 * self._jerk)  # when the acceleration has been brought to zero
        # Within the step the velocity has a peak where the acceleration changes its sign.
        before, turns = self.acceleration, self.acceleration * a < 0
        peak = self.velocity + before * np.abs(before) / (2 * np.maximum(np.abs(jerks), _MARGIN))
        fast = np.where(turns & (before > 0), np.maximum(peak, fastest), fastest)
        slow = np.where(turns & (before < 0), np.minimum(peak, fastest), fastest)
        stop, turn = self._stop(x, v, a), self._turn(x, v, a)
        too_little = (slow < -limits.velocity) | (np.minimum(stop, turn) < limits.low - _MARGIN)
        too_far = (fast > limits.velocity) | (np.maximum(stop, turn) > limits.high + _MARGIN)
        return too_far | ((stop > target) & ~too_little), too_little

    def _stop(self, x: np.ndarray, v: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Position where the fastest stop from a state ends, `[..., n]`."""
        most, jerk = self._limits.acceleration, self._jerk
        side = np.where(v + a * np.abs(a) / (2 * jerk) >= 0, 1.0, -1.0)
        v, a = side * v, side * a
        peak = np.minimum(np.sqrt(np.maximum(jerk * v + a**2 / 2, 0.0)), most)
        hold_s = np.maximum(0.0, (v + (a**2 - 2 * peak**2) / (2 * jerk)) / most)
        way = np.zeros_like(v)
        for slope, time_s in ((-jerk, (a + peak) / jerk), (0.0, hold_s), (jerk, peak / jerk)):
            way = way + time_s * (v + time_s * (a / 2 + slope * time_s / 6))
            v, a = v + time_s * (a + slope * time_s / 2), a + slope * time_s
        return x + side * way

    def _turn(self, x: np.ndarray, v: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Position where a joint turns back on its way to a stop; where it does not, its position now."""
        jerk, braking = self._jerk, v * a < 0
        root = a**2 - 2 * jerk * np.abs(v)
        turns = braking & (root > 0)
        time_s = np.where(turns, (np.abs(a) - np.sqrt(np.maximum(root, 0.0))) / jerk, 0.0)
        return x + time_s * (v + time_s * (a / 2 - np.sign(a) * jerk * time_s / 6))
