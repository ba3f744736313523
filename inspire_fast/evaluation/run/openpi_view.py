"""Observations of LIBERO as openpi's client sends them: orientation and size of the images, state in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.images import resize_with_pad
from inspire_fast.envs.libero.camera import VIEWS
from inspire_fast.envs.libero.disturbances import Disturbed
from inspire_fast.envs.libero.environment import LiberoEnvironment

ORIENTATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "rotated_180": lambda image: image,  # the orientation of `LiberoEnvironment`
    "flipped_vertically": lambda image: image[:, ::-1],
}


def present(native: Mapping[str, Any], measured: np.ndarray, *, orientation: str, image_px: int) -> dict[str, Any]:
    """The observation of openpi's LIBERO client, with its keys in its order, equal to the last byte.

    Args:
        native: of `LiberoEnvironment.observe`.
        measured: the state, float64 `[8]`, of `LiberoEnvironment.measured`.
        orientation: a key of `ORIENTATIONS`.
        image_px: height and width of the result's images.

    Raises:
        ValueError: an unknown orientation.
    """
    if orientation not in ORIENTATIONS:
        raise ValueError(f"Images can be sent {' or '.join(ORIENTATIONS)}; the policy needs {orientation!r}.")
    turn = ORIENTATIONS[orientation]
    images = {k: resize_with_pad(np.ascontiguousarray(turn(native[k])), image_px, image_px) for k in VIEWS}
    return {**images, "observation/state": measured, "prompt": str(native["prompt"])}


class OpenpiObservationWrapper:
    """Wraps LIBERO's environment so that `observe` returns the observation of openpi's client."""

    def __init__(self, environment: LiberoEnvironment | Disturbed, *, orientation: str, image_px: int) -> None:
        self._environment, self._orientation, self._image_px = environment, orientation, image_px

    @property
    def prompt(self) -> str:
        """The instruction."""
        return self._environment.prompt

    @property
    def success(self) -> bool:
        """Whether the goal is reached."""
        return self._environment.success

    def reset(self, episode: int) -> None:
        """Starts an episode."""
        self._environment.reset(episode)

    def observe(self) -> Mapping[str, Any]:
        """Renders, and returns the observation to send."""
        native = self._environment.observe()
        return present(native, self._environment.measured(), orientation=self._orientation, image_px=self._image_px)

    def step(self, action: np.ndarray) -> np.ndarray:
        """Executes an action and returns it after limits."""
        return self._environment.step(action)

    def facts(self) -> SceneFacts | None:
        """The simulator's truth."""
        return self._environment.facts()

    def close(self) -> None:
        """Frees the simulator."""
        self._environment.close()
