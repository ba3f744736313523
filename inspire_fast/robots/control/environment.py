"""Interface of the control loop to a robot or a simulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

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


def check_observation(returned: object) -> Mapping[str, Any]:
    """What an environment's `observe` returned.

    Raises:
        TypeError: no mapping.
    """
    if not isinstance(returned, Mapping):
        raise TypeError(
            f"`observe` of the environment returned {type(returned).__name__}; it must return the native observation, "
            "a mapping of keys to arrays (`Robot.fake_native` makes an example)."
        )
    return cast("Mapping[str, Any]", returned)


def check_success(said: object) -> bool:
    """What an environment's `success` said.

    Raises:
        TypeError: neither True nor False. Many other things are true in Python, a method and NaN among them.
    """
    if not isinstance(said, bool | np.bool_):
        got = "a method (is @property missing?)" if callable(said) else repr(said)
        raise TypeError(f"`success` of the environment must be True or False; got {got}.")
    return bool(cast("bool", said))
