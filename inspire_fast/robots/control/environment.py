"""Interface of the control loop to a robot or a simulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from inspire_fast.core.types import SceneFacts


class Environment(Protocol):
    """A robot or simulator, stepped at its control rate. Observing is separate from stepping: cameras are slow."""

    @property
    def prompt(self) -> str:
        """The instruction."""
        ...

    def reset(self, episode: int) -> None:
        """Starts episode number `episode` (fixed initial states are chosen by it)."""
        ...

    def observe(self) -> Mapping[str, Any]:
        """The current native observation, cameras included; a simulator renders only here.

        A robot's must return within a control period or raise: meanwhile nobody can tell the arm to hold.
        """
        ...

    def step(self, action: np.ndarray) -> np.ndarray:
        """Executes one native action `[a]` and returns the action that was actually sent after limits, an array `[a]`.

        Anything else ends the episode: the next action is limited from there, and a hold keeps its gripper.
        """
        ...

    @property
    def success(self) -> bool:
        """Whether the task is solved; always False if the environment cannot tell."""
        ...

    def facts(self) -> SceneFacts | None:
        """True positions of the targets; None if the environment does not know them."""
        ...

    def close(self) -> None:
        """Frees the simulator or releases the robot. Calling it twice is harmless."""
        ...
