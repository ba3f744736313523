"""Blended overlap: prefetch with a ramp from the old chunk's actions to the new one's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from inspire_fast.core.types import ActionChunk
from inspire_fast.robots.control.execution.asynchronous import Asynchronous, Planned, aligned

_RAMP = 4  # steps


class Blended(Asynchronous):
    """Where both chunks have an action for a step, the new one's weight grows linearly over four steps.

        weight of the new chunk    0.2  0.4  0.6  0.8  1

    Angles go the short way round. Grippers are switched to the new chunk at once: half open is no mean of open and
    closed.
    """

    def merge(self, chunk: ActionChunk, actions: np.ndarray, asked: int, step: int) -> dict[int, Planned]:
        """The ramp, then the new chunk."""
        plan = aligned(chunk, actions, asked, step)
        for place, now in enumerate(range(step, step + _RAMP)):
            if now in plan and now in self._plan:
                new = plan[now]
                mixed = self._mix(self._plan[now].action, new.action, (place + 1) / (_RAMP + 1))
                plan[now] = replace(new, action=mixed)
        return plan

    def _mix(self, old: np.ndarray, new: np.ndarray, weight: float) -> np.ndarray:
        mixed = self._robot.nearest_turn(old + weight * self._robot.action_turn(old, new))
        grippers = list(self._robot.gripper_dims)
        mixed[grippers] = new[grippers]
        return mixed.astype(np.float32)
