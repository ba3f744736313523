"""Cadence of an episode: idle steps, delays, periods, and how far commands jump where one chunk follows another."""

from __future__ import annotations

import time

import numpy as np

from inspire_fast.core.types import ActionChunk
from inspire_fast.robots.control.execution.base import Decision
from inspire_fast.robots.spec import Robot


class Cadence:
    """Figures of the control steps so far.

    Jumps are distances between the actions sent in consecutive steps, as shares of the robot's limits, without
    grippers and with angles the short way round: `seam_jump` where the chunk changes, `inner_jump` elsewhere.
    """

    def __init__(self, robot: Robot) -> None:
        arm = [dim for dim in range(robot.action_dim) if dim not in robot.gripper_dims]
        self._robot, self._arm = robot, arm
        self._span = np.subtract(robot.action_high, robot.action_low)[arm]
        self._before: tuple[np.ndarray, ActionChunk] | None = None
        self._jumps: dict[str, list[float]] = {"seam_jump": [], "inner_jump": []}
        self._delays: list[int] = []
        self._times_s: list[float] = []
        self._idle = 0

    def add(self, decision: Decision, action: np.ndarray | None) -> None:
        """Counts a control step, after its action `[a]` was sent; None for a hold."""
        self._times_s.append(time.monotonic())
        self._idle += decision.pending
        if decision.observation is not None:
            self._delays.append(decision.delay)
        if action is None:
            self._before = None
            return
        if self._before is not None:
            before, chunk = self._before
            jump = self._robot.action_turn(before, action)[self._arm] / self._span
            kind = "inner_jump" if chunk is decision.chunk else "seam_jump"
            self._jumps[kind].append(float(np.linalg.norm(jump)))
        self._before = (action, decision.chunk)

    def report(self) -> dict[str, float]:
        """`idle_steps`; mean and max of `delay_steps`; mean `seam_jump`, `inner_jump`; p99 and max of `period_ms`."""
        periods_ms = 1e3 * np.diff(self._times_s)
        found = {"idle_steps": float(self._idle)}
        found["delay_steps_mean"] = float(np.mean(self._delays)) if self._delays else 0.0
        found["delay_steps_max"] = float(max(self._delays, default=0))
        for kind, jumps in self._jumps.items():
            found[kind] = float(np.mean(jumps)) if jumps else 0.0
        found["period_ms_p99"] = float(np.percentile(periods_ms, 99)) if len(periods_ms) else 0.0
        found["period_ms_max"] = float(periods_ms.max(initial=0.0))
        return found
