"""Prefetch with time alignment: of a chunk that arrives late, the actions of the steps that have passed are skipped."""

from __future__ import annotations

import numpy as np

from inspire_fast.core.types import ActionChunk
from inspire_fast.robots.control.execution.asynchronous import Asynchronous, Planned, aligned


class Prefetch(Asynchronous):
    """Action `i` of a chunk belongs to the step of its observation plus `i` (as LeRobot's remote inference has it)."""

    def merge(self, chunk: ActionChunk, actions: np.ndarray, asked: int, step: int) -> dict[int, Planned]:
        """The chunk replaces the plan."""
        return aligned(chunk, actions, asked, step)
