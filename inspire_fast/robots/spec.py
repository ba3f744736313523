"""What an embodiment is: names, units, frames, and pure maps between its native dictionaries and canonical values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from inspire_fast.core.types import Observation


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The words for the signed axes of the frame that `TargetFacts.offset_m` is measured in: `(negative, positive)`.

    LIBERO (robosuite world): x = (back, front), y = (left, right), z = (down, up). InSpire's real arm:
    x = (left, right), y = (front, back), z = (down, up).
    """

    x: tuple[str, str]
    y: tuple[str, str]
    z: tuple[str, str]

    def __post_init__(self) -> None:
        words = [*self.x, *self.y, *self.z]
        if len(set(words)) != 6:
            raise ValueError(f"Axes need six different words; got {words}.")

    def word(self, axis: int, *, positive: bool) -> str:
        """The word for one signed axis, e.g. `word(1, positive=True) == "right"` on LIBERO."""
        return (self.x, self.y, self.z)[axis][int(positive)]

    @property
    def words(self) -> tuple[str, ...]:
        """All six, in the paper's order where they are the paper's words, else x, y, z."""
        paper = ("right", "left", "up", "down", "front", "back")
        words = (*self.x, *self.y, *self.z)
        return paper if set(words) == set(paper) else words


@dataclass(frozen=True, kw_only=True)
class Robot:
    """One embodiment. Everything that depends on the robot is data here, never code elsewhere.

    Attributes:
        name: registry name; stands in datasets and checkpoint contracts.
        cameras: native key -> canonical camera name.
        state_key: native key of the state vector.
        state_names: one name per state dimension, with its unit (`eef_x_m`).
        action_names: one name per action dimension.
        action_low, action_high: limits of an executable action, per dimension.
        hold_action: action that keeps the arm where it is; gripper dimensions are kept from the last action sent.
        gripper_dims: action dimensions that are gripper commands.
        control_hz: control rate.
        axes: words of the signed axes of the facts' frame.
        image_orientation: how camera images reach the model relative to the simulator's or driver's raw frame.
    """

    name: str
    cameras: Mapping[str, str]
    state_key: str
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    hold_action: tuple[float, ...]
    gripper_dims: tuple[int, ...]
    control_hz: float
    axes: Axes
    image_orientation: Literal["upright", "rotated_180", "flipped_vertically"]

    def __post_init__(self) -> None:
        for name in ("action_low", "action_high", "hold_action"):
            if len(getattr(self, name)) != self.action_dim:
                raise ValueError(f"Robot {self.name!r}: {name} needs {self.action_dim} values.")

    @property
    def state_dim(self) -> int:
        """Length of the state vector."""
        return len(self.state_names)

    @property
    def action_dim(self) -> int:
        """Length of an action."""
        return len(self.action_names)

    def canonical(self, native: Mapping[str, Any]) -> Observation:
        """Native observation (keys as on openpi's wire) -> canonical. The input is not mutated.

        Raises:
            ValueError: a key is missing, or an array has the wrong shape or type; names both sides.
        """
        missing = [k for k in (*self.cameras, self.state_key, "prompt") if k not in native]
        if missing:
            raise ValueError(
                f"Robot {self.name!r}: the observation lacks {missing}; it has {sorted(map(str, native))}. "
                f"Expected images {sorted(self.cameras)}, {self.state_key!r} [{self.state_dim}] and 'prompt'."
            )
        if not isinstance(native["prompt"], str):
            raise ValueError(f"Robot {self.name!r}: 'prompt' must be text; got {type(native['prompt']).__name__}.")
        state = np.array(native[self.state_key], dtype=np.float32)
        if state.shape != (self.state_dim,):
            raise ValueError(
                f"Robot {self.name!r}: {self.state_key!r} must have shape ({self.state_dim},) = {self.state_names}; "
                f"got {state.shape}."
            )
        images = {canonical: np.asarray(native[key]) for key, canonical in self.cameras.items()}
        return Observation(images=images, state=state, prompt=native["prompt"])

    def native_observation(self, observation: Observation) -> dict[str, Any]:
        """The inverse of `canonical`: what a client of this robot puts on the wire."""
        images = {key: observation.images[canonical] for key, canonical in self.cameras.items()}
        return {**images, self.state_key: observation.state, "prompt": observation.prompt}

    def native_actions(self, actions: np.ndarray) -> np.ndarray:
        """Canonical actions `[t, a]` -> executable ones: clipped to the robot's limits (a copy).

        Raises:
            ValueError: wrong number of dimensions, or NaN/infinity.
        """
        if actions.ndim != 2 or actions.shape[1] != self.action_dim:
            raise ValueError(f"Robot {self.name!r}: actions must be [t, {self.action_dim}]; got {actions.shape}.")
        if not np.isfinite(actions).all():
            raise ValueError(f"Robot {self.name!r}: refusing actions with NaN or infinity.")
        return np.clip(actions, self.action_low, self.action_high).astype(np.float32)

    def fake_native(self, seed: int = 0, image_hw: tuple[int, int] = (64, 64)) -> dict[str, Any]:
        """A random but valid native observation, for tests and warm-up."""
        rng = np.random.default_rng(seed)
        images = {key: rng.integers(0, 256, (*image_hw, 3), dtype=np.uint8) for key in self.cameras}
        state = rng.uniform(-1, 1, self.state_dim).astype(np.float32)
        return {**images, self.state_key: state, "prompt": "put the red block on the plate"}
