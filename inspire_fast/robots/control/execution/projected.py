"""Projected state: the policy is asked with the state that the robot will have when the chunk arrives (VLASH).

The images stay those of the request. pi0-FAST reads the state as text, so that no retraining is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inspire_fast.core.types import ActionChunk
from inspire_fast.robots.control.execution.asynchronous import Asynchronous, Planned, aligned
from inspire_fast.robots.control.execution.requests import Requests
from inspire_fast.robots.spec import Robot

_RAMP = 1  # steps


class Projected(Asynchronous):
    """Action 0 of a chunk belongs to the step at which it was expected; until then the old chunk goes on.

    The first action of the new chunk is halfway between both (grippers are switched), which halves the jump.

    Raises:
        ValueError: the robot does not say where its actions lead (`Robot.state_after`).
    """

    def __init__(self, requests: Requests, *, robot: Robot, execute: int) -> None:
        super().__init__(requests, robot=robot, execute=execute)
        if robot.state_after is None:
            raise ValueError(
                f"Robot {robot.name!r} does not say where its actions lead (`Robot.state_after`), which execution "
                "'projected' needs. Choose 'prefetch' or 'blended'."
            )
        self._first: dict[int, int] = {}  # step of a request -> step of its chunk's action 0

    def prepare(self, observation: Mapping[str, Any], step: int) -> Mapping[str, Any]:
        """The observation with the state after the actions that are planned until the reply."""
        coming = self.coming(step)
        self._first = {step: step + len(coming)}
        return self._robot.projected(observation, np.array(coming)) if coming else observation

    def merge(self, chunk: ActionChunk, actions: np.ndarray, asked: int, step: int) -> dict[int, Planned]:
        """The old plan up to the new chunk's first step, a step between both, then the chunk."""
        first = self._first[asked]
        before = {now: planned for now, planned in self._plan.items() if step <= now < first}
        return before | self.ramped(aligned(chunk, actions, first, step), max(first, step), _RAMP)
