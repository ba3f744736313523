"""Stream of joint targets to an arm: a policy's targets, interpolated and limited at the stream's own rate.

Between two targets the setpoint moves in a straight line; a jerk limiter follows it. The stream holds by itself when
nobody commands it any more, and ends with a fault when the arm does not follow, does not answer or has been stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
import enum
import logging

import numpy as np

from inspire_fast.core.ranges import Positive, require_ranges
from inspire_fast.robots.arms.base import Arm, ArmError, ArmReading
from inspire_fast.robots.arms.limiter import JerkLimiter
from inspire_fast.robots.arms.limits import MotionLimits

logger = logging.getLogger(__name__)


class Mode(enum.IntEnum):
    """What a stream does: nothing yet, move to a target, hold, or no more at all (stopped by somebody, a fault)."""

    IDLE = 0
    FOLLOWING = 1
    HOLDING = 2
    STOPPED = 3
    FAULTED = 4


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Rate and tolerances of a stream.

    Attributes:
        rate_hz: of the targets that the arm gets.
        silence_s: nobody commands any more when a target has no successor for this long after the time that it was
            to be reached: the arm holds there.
        stale_s: the arm's measurement has this age: a fault.
        max_lag: largest distance of any joint from its command, rad: beyond it something is in the way: a fault.
            Grippers are not judged.
    """

    rate_hz: Positive = 100.0
    silence_s: Positive = 0.3
    stale_s: Positive = 0.25
    max_lag: Positive = 0.35

    def __post_init__(self) -> None:
        require_ranges(self)


class ArmStream:
    """One arm under control. `tick` is called at the rate of the configuration, everything else between ticks.

    Attributes:
        mode: see `Mode`.
        reason: why the stream holds, stopped or failed; empty while it moves.
        reading: the newest measurement.
    """

    def __init__(self, arm: Arm, limits: MotionLimits, config: StreamConfig, *, now_s: float) -> None:
        """Takes control of a connected arm where it stands.

        Raises:
            ArmError: the arm does not give control.
            ValueError: the arm stands beyond the limits.
        """
        self._arm, self._config = arm, config
        self.mode, self.reason = Mode.IDLE, ""
        self.reading: ArmReading = arm.read()
        self._fresh_s = now_s
        self._arm_joints = limits.arm
        self._limiter = JerkLimiter(limits, self.reading.q, dt_s=1.0 / config.rate_hz)
        self._from = self._to = self._limiter.position.copy()
        self._start_s, self._end_s = now_s, now_s
        arm.begin()

    @property
    def commanded(self) -> np.ndarray:
        """Joint positions `[n]` that were sent last."""
        return self._limiter.position

    @property
    def resting(self) -> bool:
        """The command has reached its target and rests there."""
        still = float(np.abs(self._limiter.velocity).max()) < 1e-3
        return still and float(np.abs(self._limiter.position - self._to).max()) < 1e-3

    def follow(self, target: np.ndarray, duration_s: float, now_s: float) -> None:
        """Moves the setpoint to a target `[n]` within a time, in a straight line from where the setpoint is."""
        if self.mode >= Mode.STOPPED:
            return
        self._from, self._to = self._setpoint(now_s), np.array(target, np.float64)
        self._start_s, self._end_s = now_s, now_s + duration_s
        self.mode, self.reason = Mode.FOLLOWING, ""

    def hold(self, reason: str, now_s: float) -> None:
        """Brakes as fast as the limits allow, and stays there."""
        if self.mode >= Mode.STOPPED or self.mode == Mode.HOLDING:
            return
        self._from = self._to = self._limiter.stop_position
        self._start_s = self._end_s = now_s
        self.mode, self.reason = Mode.HOLDING, reason

    def stop(self, reason: str, now_s: float) -> None:
        """Holds for good: no later target is followed. A new stream is needed to move again."""
        if self.mode >= Mode.STOPPED:
            return
        self.hold(reason, now_s)
        self.mode, self.reason = Mode.STOPPED, reason

    def move_gripper(self, closed: float) -> None:
        """Starts to move the gripper; ignored after a stop or a fault."""
        if self.mode < Mode.STOPPED:
            self._arm.move_gripper(closed)

    def tick(self, now_s: float) -> None:
        """Reads the arm, decides, and sends the next position. After a fault nothing is sent."""
        if self.mode == Mode.FAULTED:
            return
        try:
            self._read(now_s)
            if self.mode == Mode.FOLLOWING and now_s > self._end_s + self._config.silence_s:
                # The setpoint has reached the last target by now; the arm comes to rest there.
                self.mode, self.reason = Mode.HOLDING, f"no new target for {now_s - self._end_s:.2f} s"
            position = self._limiter.advance(self._setpoint(now_s))
            self._require_following()
            self._arm.send(position, self._limiter.velocity)
        except ArmError as error:
            self.fail(str(error))

    def fail(self, reason: str) -> None:
        """Gives the arm up: nothing is sent any more. Whoever ticks calls `Arm.end`, which may take seconds."""
        self.mode, self.reason = Mode.FAULTED, reason
        logger.error("The arm has a fault: %s", reason)

    def _setpoint(self, now_s: float) -> np.ndarray:
        span = self._end_s - self._start_s
        share = 1.0 if span <= 0 else min(1.0, max(0.0, (now_s - self._start_s) / span))
        return self._from + share * (self._to - self._from)

    def _read(self, now_s: float) -> None:
        reading = self._arm.read()
        if not (np.isfinite(reading.q).all() and np.isfinite(reading.dq).all()):
            raise ArmError(f"The arm's measurement holds NaN or infinity: {reading.q}.")
        if reading.time_s != self.reading.time_s:
            self._fresh_s = now_s
        elif (age := now_s - self._fresh_s) > self._config.stale_s:
            raise ArmError(f"The arm's newest measurement is {age:.2f} s old; its controller does not answer.")
        self.reading = reading

    def _require_following(self) -> None:
        lag = np.where(self._arm_joints, np.abs(self.reading.q - self._limiter.position), 0.0)
        if float(lag.max()) > self._config.max_lag:
            joint = int(lag.argmax())
            raise ArmError(
                f"Joint {joint + 1} is {lag[joint]:.2f} rad behind its command (allowed: {self._config.max_lag}); "
                "something is in its way."
            )
