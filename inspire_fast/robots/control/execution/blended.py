"""Blended overlap: prefetch with a ramp from the old chunk's actions to the new one's."""

from __future__ import annotations

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
        return self.ramped(aligned(chunk, actions, asked, step), step, _RAMP)
