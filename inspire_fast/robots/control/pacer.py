"""Pacer: keeps a control rate in real time."""

from __future__ import annotations

import time


class Pacer:
    """Keeps a control rate. A late step moves the schedule: missed steps are never executed in a burst."""

    def __init__(self, control_hz: float | None) -> None:
        """Takes steps per second of real time; None for simulators, which are never waited for."""
        if control_hz is not None and not control_hz > 0:
            raise ValueError(f"control_hz must be positive; got {control_hz}.")
        self._period_s = None if control_hz is None else 1.0 / control_hz
        self._next: float | None = None
        self.late = 0

    def wait(self) -> None:
        """Returns when the next step is due."""
        if self._period_s is None:
            return
        now = time.monotonic()
        if self._next is not None and now < self._next:
            time.sleep(self._next - now)
            self._next += self._period_s
            return
        self.late += self._next is not None
        self._next = now + self._period_s
