"""What a disturbance is: one way in which a scene differs from those that a policy was trained on, seeded, in six strengths."""

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
    """One episode that is being disturbed.

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
        """mujoco.MjModel; what is changed in it is put back before the next episode by whoever changes it."""
        return self.environment._alive().sim.model._model


@dataclass(frozen=True, kw_only=True)
class Active:
    """A disturbance at work in one episode. Every part may be left out.

    Attributes:
        undo: puts the simulator back as it was before.
        prompt: the instruction, in other words.
        see: an observation -> what the policy gets instead.
        stepped: called after each control step.
        pictured: mujoco.MjData that is drawn instead of the present.
    """

    undo: Callable[[], None] = lambda: None
    prompt: Callable[[str], str] = lambda text: text
    see: Callable[[Native], Native] = lambda native: native
    stepped: Callable[[], None] = lambda: None
    pictured: Callable[[], Any] = lambda: None


Disturbance = Callable[[Scene], Active]
"""Changes the scene and says what else is different; called once per episode with a severity of at least 1."""


def restoring(*arrays: np.ndarray) -> Callable[[], None]:
    """What puts arrays of the model back to their present values, in place."""
    kept = [(array, array.copy()) for array in arrays]

    def undo() -> None:
        for array, before in kept:
            array[...] = before

    return undo
