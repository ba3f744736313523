"""Interface of SimplerEnv's two simulators: what the environment of either robot reads and commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from inspire_fast.core.types import SceneFacts


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A camera's picture, and the arm as it is measured.

    Attributes:
        image: uint8 `[h, w, 3]`, RGB, upright.
        position_m: of the end effector, `[3]`, in the base's frame.
        quaternion: of the end effector, `[4]`, w x y z, in the base's frame.
        gripper_open: 0 closed .. 1 open.
    """

    image: np.ndarray
    position_m: np.ndarray
    quaternion: np.ndarray
    gripper_open: float


class Simulator(Protocol):
    """One task in a simulator."""

    @property
    def prompt(self) -> str:
        """The instruction."""
        ...

    @property
    def success(self) -> bool:
        """The goal holds after the last step (or after the reset)."""
        ...

    def reset(self, placement: int) -> None:
        """Starts an episode from one of the task's placements."""
        ...

    def step(self, action: np.ndarray) -> None:
        """Executes one action of the robot's controller, `[7]`."""
        ...

    def read(self) -> Reading:
        """The camera's picture and the arm."""
        ...

    def facts(self) -> SceneFacts | None:
        """The truth about the instruction's things; None where it is not known."""
        ...

    def close(self) -> None:
        """Frees the simulator."""
        ...


def value(observation: Mapping[str, Any], path: str, *, batched: bool) -> np.ndarray:
    """One array of a simulator's nested observation; of ManiSkill 3, without the dimension of its one environment.

    Args:
        observation: of the simulator.
        path: keys, `agent/qpos`.
        batched: the array has a leading dimension of length 1.

    Raises:
        ValueError: there is no such key, or another number of environments; names what is there.
    """
    here: Any = observation
    for key in path.split("/"):
        if not isinstance(here, Mapping) or key not in here:
            has = sorted(map(str, here)) if isinstance(here, Mapping) else f"a {type(here).__name__}"
            raise ValueError(f"The simulator's observation lacks {path!r}: at {key!r} it has {has}.")
        here = here[key]
    array = np.asarray(here)
    if not batched:
        return array
    if not array.ndim or len(array) != 1:
        raise ValueError(f"The simulator's observation {path!r} must be of one environment; got {array.shape}.")
    return array[0]
