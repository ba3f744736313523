"""Interface of a disturbance: one way in which a scene differs from training, seeded, in six severities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment

SEVERITIES = range(6)  # 0 changes nothing
Native = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One episode to disturb.

    Attributes:
        environment: reset and settled.
        rng: of this disturbance in this episode.
        severity: 1..5.
    """

    environment: LiberoEnvironment
    rng: np.random.Generator
    severity: int

    @property
    def model(self) -> Any:
        """mujoco.MjModel. A disturbance that changes it must restore it before the next episode."""
        return self.environment.simulator.sim.model._model


@dataclass(frozen=True, kw_only=True)
class Active:
    """A disturbance at work in one episode. Every part may be left out.

    Attributes:
        undo: restores the simulator.
        prompt: instruction -> the instruction in other words.
        see: observation -> the observation that the policy gets.
        stepped: called after each control step.
        drawn: gives the mujoco.MjData to draw instead of the present one, or None.
    """

    undo: Callable[[], None] = lambda: None
    prompt: Callable[[str], str] = lambda text: text
    see: Callable[[Native], Native] = lambda native: native
    stepped: Callable[[], None] = lambda: None
    drawn: Callable[[], Any] = lambda: None


Disturbance = Callable[[Scene], Active]
"""Changes the scene and returns the changes that act later; called once per episode, with a severity of at least 1."""


def restoring(*arrays: np.ndarray) -> Callable[[], None]:
    """A function that restores arrays of the model to their present values, in place."""
    saved = [(array, array.copy()) for array in arrays]

    def undo() -> None:
        for array, before in saved:
            array[...] = before

    return undo
