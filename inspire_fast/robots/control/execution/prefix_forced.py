"""Prefix-forced chunks: the actions that will have been executed are given, and the policy decodes the rest after them.

Only an autoregressive policy whose ids are time-major can do that (`bins`); with FAST every id depends on all steps.
"""

from __future__ import annotations

import numpy as np

from inspire_fast.robots.control.execution.prefetch import Prefetch


class PrefixForced(Prefetch):
    """Prefetch of chunks that go on where the robot will be: action `i` belongs to the observation's step plus `i`."""

    def committed(self, step: int) -> np.ndarray | None:
        """The actions planned until the reply."""
        coming = self.coming(step)
        return np.array(coming) if coming else None
