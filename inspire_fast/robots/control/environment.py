"""What the control loop needs of a robot or a simulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from inspire_fast.core.types import SceneFacts


class Environment(Protocol):
    """A robot or simulator that is stepped at its control rate. Looking is separate from stepping: cameras are slow."""

    @property
    def prompt(self) -> str:
        """The instruction."""
        ...

    def reset(self, episode: int) -> None:
        """Starts episode number `episode` (fixed initial states are chosen by it)."""
        ...

    def observe(self) -> Mapping[str, Any]:
        """The native observation now, cameras included: this is what renders."""
        ...

    def step(self, action: np.ndarray) -> np.ndarray:
        """Executes one native action `[a]` and returns the action that was actually sent after limits."""
        ...

    @property
    def success(self) -> bool:
        """The task is solved (always False where nobody can tell)."""
        ...

    def facts(self) -> SceneFacts | None:
        """Truth about the targets, where the environment knows it."""
        ...

    def close(self) -> None:
        """Frees the simulator or lets go of the robot. Calling it twice is harmless."""
        ...
