"""A simulator as a protocol presents it to a policy: pictures in its orientation and size, the state as openpi sends it."""

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
    "rotated_180": lambda image: image,  # what LiberoEnvironment draws
    "flipped_vertically": lambda image: image[:, ::-1],
}


def present(native: Mapping[str, Any], measured: np.ndarray, *, orientation: str, image_px: int) -> dict[str, Any]:
    """The request of openpi's LIBERO client, key for key in its order, so that even its bytes are the same.

    Args:
        native: of `LiberoEnvironment.observe`.
        measured: the state, float64 `[8]` (see `LiberoEnvironment.measured`).
        orientation: see `ORIENTATIONS`.
        image_px: height and width sent.

    Raises:
        ValueError: an unknown orientation.
    """
    if orientation not in ORIENTATIONS:
        raise ValueError(f"Pictures can be sent {' or '.join(ORIENTATIONS)}; the policy wants {orientation!r}.")
    turn = ORIENTATIONS[orientation]
    images = {k: resize_with_pad(np.ascontiguousarray(turn(native[k])), image_px, image_px) for k in VIEWS}
    return {**images, "observation/state": measured, "prompt": str(native["prompt"])}


class Presented:
    """The environment of one episode after another, whose `observe` is what goes over the wire."""

    def __init__(self, environment: LiberoEnvironment | Disturbed, *, orientation: str, image_px: int) -> None:
        self._environment, self._orientation, self._image_px = environment, orientation, image_px

    @property
    def prompt(self) -> str:
        """See `Environment.prompt`."""
        return self._environment.prompt

    @property
    def success(self) -> bool:
        """See `Environment.success`."""
        return self._environment.success

    def reset(self, episode: int) -> None:
        """See `Environment.reset`."""
        self._environment.reset(episode)

    def observe(self) -> Mapping[str, Any]:
        """See `present`. This renders."""
        native = self._environment.observe()
        return present(native, self._environment.measured(), orientation=self._orientation, image_px=self._image_px)

    def step(self, action: np.ndarray) -> np.ndarray:
        """See `Environment.step`."""
        return self._environment.step(action)

    def facts(self) -> SceneFacts | None:
        """See `Environment.facts`."""
        return self._environment.facts()

    def close(self) -> None:
        """See `Environment.close`."""
        self._environment.close()
