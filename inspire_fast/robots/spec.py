"""Robot specifications: names, units, frames, and pure maps between native dictionaries and canonical values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from inspire_fast.core.nested import flatten_dict, unflatten_dict
from inspire_fast.core.registry import unknown_name
from inspire_fast.core.types import Observation, single_text
from inspire_fast.robots.axes import Axes
from inspire_fast.robots.checks import check_robot
from inspire_fast.robots.gripper import GripperSignal
from inspire_fast.robots.images import Layout, parse_image
from inspire_fast.robots.native import beyond, numbers, unknown_keys
from inspire_fast.robots.periodic import mapped_periods, nearest, shortest

ImageOrientation = Literal["upright", "rotated_180", "flipped_vertically"]
# Units that are mixed up differ by more (degrees and radians: 57), and no sensor overshoots its range by as much.
_IMPOSSIBLE = 10.0
IMAGE_KEYS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")


def _same(values: np.ndarray) -> np.ndarray:
    return values


@dataclass(frozen=True, kw_only=True)
class VectorMap:
    """Pure maps of vectors `[..., d]` between a robot's own units and those that its policies are trained in."""

    to_canonical: Callable[[np.ndarray], np.ndarray] = _same
    to_native: Callable[[np.ndarray], np.ndarray] = _same


@dataclass(frozen=True, kw_only=True)
class Robot:
    """One embodiment. Everything that depends on the robot is a field here; no other code branches on it.

    Attributes:
        name: registry name, as stored in datasets and checkpoint contracts.
        cameras: native key -> canonical camera name.
        state_keys: native key -> its number of dimensions; the state is their concatenation.
        state_names: one name per native state dimension, with its unit (`eef_x_m`).
        state_low, state_high: native states between which fake observations are drawn; real ones may be outside, but
            not ten times as far from the middle (`impossible`).
        action_names: one name per native action dimension.
        action_low, action_high: limits of an executable native action, per dimension.
        hold_action: native action that keeps the arm in place; gripper dimensions are kept from the last action sent.
            None if actions are target positions: then the last one sent is kept.
        hold_at: native state `[s]` -> the native action `[a]` that keeps the robot there until something was sent: for
            target positions, and for grippers that `hold_action` would move. Without it `hold_action` is sent.
        gripper_dims: action dimensions that are gripper commands.
        control_hz: control rate.
        axes: words of the signed axes of the robot's base, the frame of facts and of "relative to the robot".
        frames: words of the signed axes of further frames ("gripper", "camera"); see `TargetFacts.rotations`.
        image_orientation: of the images that the model sees, relative to the simulator's or driver's raw frame.
        image_layout: of native images as this robot's clients send them; the other layout is read, too.
        nested: clients send `{"images": {"cam_high": ...}}` for the key `images/cam_high`; flat keys are read, too.
        optional_cameras: native keys that may be absent; the model then sees a black image, as in pi0-FAST's training.
        columns: dataset column -> native key, as openpi's conversions for this robot name them; a training config may
            name others.
        action_column: dataset column of the actions, likewise.
        gripper: the gripper's position and opening in the native state or in columns of datasets, for labels by
            hindsight; None if neither has them.
        model_cameras: canonical names that a pi0-FAST network for this robot has; one without an image is black.
        unused_cameras: native keys that clients of this robot may send and that the model does not see.
        periods: state or action name -> length of its circle, native units, for angles that go on behind their last
            value (Euler angles, joints without stops): every difference is taken the short way round. A joint with
            stops is on a line however far it turns, and so are the three numbers of a rotation vector.
        state_after: native state `[s]` and native actions `[n, a]` -> the state after them, for `projected`; None if
            it is not known.
        delta: action dimensions that are trained relative to the state at the chunk's start (openpi's delta mask);
            empty: none. See `relative`, which puts a periodic dimension's period in the place of True.
        state_map, action_map: native <-> canonical units.
    """

    name: str
    cameras: Mapping[str, str]
    state_keys: Mapping[str, int]
    state_names: tuple[str, ...]
    state_low: tuple[float, ...]
    state_high: tuple[float, ...]
    action_names: tuple[str, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    gripper_dims: tuple[int, ...]
    control_hz: float
    axes: Axes
    image_orientation: ImageOrientation
    columns: Mapping[str, str]
    action_column: str = "actions"
    gripper: GripperSignal | None = None
    frames: Mapping[str, Axes] = field(default_factory=dict[str, Axes])
    hold_action: tuple[float, ...] | None = None
    hold_at: Callable[[np.ndarray], np.ndarray] | None = None
    image_layout: Layout = "hwc"
    nested: bool = False
    optional_cameras: tuple[str, ...] = ()
    unused_cameras: tuple[str, ...] = ()
    model_cameras: tuple[str, ...] = IMAGE_KEYS
    periods: Mapping[str, float] = field(default_factory=dict[str, float])
    state_after: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    delta: tuple[bool | float, ...] = ()
    state_map: VectorMap = VectorMap()
    action_map: VectorMap = VectorMap()

    def __post_init__(self) -> None:
        check_robot(self)
        object.__setattr__(self, "delta", self.relative(self.delta))

    def require_keys(self, keys: Iterable[str]) -> None:
        """Checks the native keys that a dataset's columns map to.

        Raises:
            ValueError: a required key is missing, or one is unknown.
        """
        named, possible = sorted(keys), {*self.cameras, *self.state_keys}
        if not set(self.required_keys) <= set(named) <= possible:
            raise ValueError(
                f"Robot {self.name!r} needs the keys {sorted(self.required_keys)} of {sorted(possible)}; the columns "
                f"map to {named}."
            )

    def axes_in(self, frame: str) -> Axes:
        """Words of the signed axes of a frame; "base" is `axes`.

        Raises:
            ValueError: this robot has no such frame; the message lists those that it has.
        """
        if frame != "base" and frame not in self.frames:
            raise ValueError(f"Robot {self.name!r}: " + unknown_name("frame", frame, ["base", *self.frames]))
        return self.axes if frame == "base" else self.frames[frame]

    @property
    def state_dim(self) -> int:
        """Length of the state vector."""
        return len(self.state_names)

    @property
    def action_dim(self) -> int:
        """Length of an action."""
        return len(self.action_names)

    @property
    def state_periods(self) -> np.ndarray:
        """Period of each native state dimension `[s]`; 0 on a line."""
        return np.array([self.periods.get(name, 0.0) for name in self.state_names])

    @property
    def action_periods(self) -> np.ndarray:
        """Period of each native action dimension `[a]`; 0 on a line."""
        return np.array([self.periods.get(name, 0.0) for name in self.action_names])

    @property
    def canonical_periods(self) -> dict[str, tuple[float, ...]]:
        """Periods of `state` and `actions` in canonical units, one per dimension; 0 on a line. Empty: none at all.

        Raises:
            ValueError: in canonical units a whole turn is not the same shift of the same dimension everywhere.
        """
        if not self.periods:
            return {}
        state, actions = self.state_map.to_canonical, self.action_map.to_canonical
        try:
            return {
                "state": mapped_periods(state, self.state_periods, self.state_low, self.state_high),
                "actions": mapped_periods(actions, self.action_periods, self.action_low, self.action_high),
            }
        except ValueError as error:
            raise ValueError(f"Robot {self.name!r}: {error}") from error

    def relative(self, mask: Iterable[bool | float]) -> tuple[bool | float, ...]:
        """A delta mask with the canonical period in the place of True where the action dimension is periodic."""
        periods = self.canonical_periods.get("actions", ())
        return tuple(
            (periods[dim] if dim < len(periods) and periods[dim] else True) if is_relative else False
            for dim, is_relative in enumerate(mask)
        )

    @property
    def state_key(self) -> str | None:
        """The native key of the whole state; None if several keys make up the state."""
        return next(iter(self.state_keys)) if len(self.state_keys) == 1 else None

    @property
    def required_keys(self) -> tuple[str, ...]:
        """Native keys that every observation must hold, besides the prompt."""
        return (*(c for c in self.cameras if c not in self.optional_cameras), *self.state_keys)

    def canonical(self, native: Mapping[str, Any]) -> Observation:
        """Native observation (keys as on openpi's wire) -> canonical. The input is not mutated.

        Images are uint8 or float in [0, 1], `[h, w, 3]` or `[3, h, w]`.

        Raises:
            ValueError: a key is missing, a camera is unknown, or an array has the wrong shape, type or values; the
                message names what was expected and what came.
        """
        flat = flatten_dict(native)
        missing = [k for k in (*self.required_keys, "prompt") if k not in flat]
        if missing:
            raise ValueError(
                f"Robot {self.name!r}: the observation lacks {missing}; it has {sorted(flat)}. Expected images "
                f"{sorted(self.cameras)}, {', '.join(f'{k!r} [{n}]' for k, n in self.state_keys.items())} and 'prompt'."
            )
        if not isinstance(prompt := single_text(flat["prompt"]), str):
            raise ValueError(f"Robot {self.name!r}: 'prompt' must be text; got {type(prompt).__name__}.")
        state = self.state_map.to_canonical(self.native_state(flat)).astype(np.float32)
        images = {self.cameras[key]: image for key, image in self.native_images(flat).items()}
        return Observation(images=images, state=state, prompt=prompt)

    def native_state(self, native: Mapping[str, Any]) -> np.ndarray:
        """The whole native state of an observation, float32 `[s]`, a copy.

        Raises:
            ValueError: a part is missing, is not numeric, has the wrong shape, or holds NaN, infinity or a number too
                large for float32, or a state that the robot cannot be in; the message names the robot and the key.
        """
        flat = flatten_dict(native)
        parts: list[np.ndarray] = []
        for key, dim in self.state_keys.items():
            try:
                part = numbers(flat.get(key, []))
            except ValueError as error:
                raise ValueError(f"Robot {self.name!r}: {key!r} {error}") from error
            if part.ndim == 0 and dim == 1:  # openpi's DROID clients send the gripper as a number or as [1]
                part = part[None]
            if part.shape != (dim,):
                raise ValueError(
                    f"Robot {self.name!r}: {key!r} must have shape ({dim},), of the state {self.state_names}; "
                    f"got {part.shape}."
                )
            if not np.isfinite(part).all():
                first = sum(map(len, parts))
                bad = ", ".join(self.state_names[first + int(i)] for i in np.flatnonzero(~np.isfinite(part)))
                raise ValueError(
                    f"Robot {self.name!r}: as float32 {key!r} holds NaN or infinity in {bad}; check the robot's "
                    "sensors."
                )
            parts.append(part)
        state = np.concatenate(parts)
        if self.impossible(state).any():
            raise ValueError(self.tell_impossible(state))
        return state

    def native_images(self, native: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Native key -> uint8 `[h, w, 3]` of the observation's cameras; raises as `canonical` does."""
        flat = flatten_dict(native)
        known = (*self.cameras, *self.unused_cameras, *self.state_keys)
        if unknown := unknown_keys(flat, known, optional=self.optional_cameras):
            raise ValueError(f"Robot {self.name!r} has no {unknown} It knows {sorted(known)}.")
        images: dict[str, np.ndarray] = {}
        for key in self.cameras:
            if key not in flat and key in self.optional_cameras:
                continue
            try:
                images[key] = parse_image(flat[key], self.image_layout)
            except ValueError as error:
                raise ValueError(f"Robot {self.name!r}, camera {key!r}: {error}.") from error
        return images

    def native_observation(self, observation: Observation) -> dict[str, Any]:
        """The inverse of `canonical`: an observation as this robot's clients send it."""
        flat: dict[str, Any] = {}
        for key, camera in self.cameras.items():
            if camera in observation.images or key not in self.optional_cameras:
                image = observation.images[camera]
                flat[key] = np.moveaxis(image, -1, 0) if self.image_layout == "chw" else image
        state = self.state_map.to_native(observation.state).astype(np.float32)
        return self._as_sent(flat, state, observation.prompt)

    def projected(self, native: Mapping[str, Any], actions: np.ndarray) -> dict[str, Any]:
        """A native observation with the state after native actions `[n, a]`; see `state_after`."""
        assert self.state_after is not None  # checked by who asks
        flat = dict(flatten_dict(native))
        state = self.state_after(self.native_state(flat), actions).astype(np.float32)
        return self._as_sent(flat, state, flat["prompt"])

    def _as_sent(self, flat: dict[str, Any], state: np.ndarray, prompt: str) -> dict[str, Any]:
        """Native images by key, native state `[s]` and prompt -> the dictionary that this robot's clients send."""
        ends = np.cumsum(list(self.state_keys.values()))[:-1]
        flat |= dict(zip(self.state_keys, np.split(state, ends), strict=True))
        return {**(unflatten_dict(flat) if self.nested else flat), "prompt": prompt}

    def canonical_actions(self, actions: np.ndarray) -> np.ndarray:
        """Native actions `[..., a]`, as recorded -> canonical ones, float32; the same array where nothing differs.

        Raises:
            ValueError: wrong number of dimensions.
        """
        self._check_action_dim(actions)
        return self.action_map.to_canonical(actions).astype(np.float32, copy=False)

    def native_actions(self, actions: np.ndarray) -> np.ndarray:
        """Canonical actions `[t, a]` -> native ones, clipped to the robot's limits (a copy, float32).

        Raises:
            ValueError: wrong number of dimensions, or NaN/infinity.
        """
        if actions.ndim != 2:
            raise ValueError(f"Robot {self.name!r}: actions must be [t, {self.action_dim}]; got {actions.shape}.")
        self._check_action_dim(actions)
        if not np.isfinite(actions).all():
            raise ValueError(f"Robot {self.name!r}: refusing actions with NaN or infinity.")
        return self.limited(self.action_map.to_native(actions))

    def nearest_turn(self, actions: np.ndarray) -> np.ndarray:
        """Native actions `[..., a]` with angles moved by whole turns to within half a turn of their limits' middle."""
        middle = np.add(self.action_low, self.action_high, dtype=np.float64) / 2
        return nearest(actions, middle, self.action_periods)

    def limited(self, actions: np.ndarray) -> np.ndarray:
        """Native actions `[..., a]` within the robot's limits, float32; angles come back by whole turns first."""
        return np.clip(self.nearest_turn(actions), self.action_low, self.action_high).astype(np.float32)

    def impossible(self, states: np.ndarray) -> np.ndarray:
        """Whether native states `[..., s]` are so far off their range that they must be in another unit, `[..., s]`."""
        low, high = np.array(self.state_low), np.array(self.state_high)
        middle = (low + high) / 2
        return np.abs(nearest(states, middle, self.state_periods) - middle) > _IMPOSSIBLE * (high - low) / 2

    def tell_impossible(self, state: np.ndarray) -> str:
        """An impossible native state `[s]` in words."""
        told = beyond(self.state_names, state, self.state_low, self.state_high, self.impossible(state))
        return (
            f"Robot {self.name!r} cannot be in this state: {told}; its range is in brackets. Send the units of the "
            "names: degrees for radians, or millimetres for metres, do not fit."
        )

    def action_turn(self, before: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Differences between native actions `[..., a]`, the short way round."""
        return shortest(np.subtract(now, before, dtype=np.float64), self.action_periods)

    def state_moved(self, before: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Distances between native states `[..., s]` as shares of the declared range, the short way round."""
        span = np.subtract(self.state_high, self.state_low)
        return np.abs(shortest(np.subtract(now, before, dtype=np.float64), self.state_periods)) / span

    def _check_action_dim(self, actions: np.ndarray) -> None:
        if not actions.ndim or actions.shape[-1] != self.action_dim:
            raise ValueError(f"Robot {self.name!r}: actions must be [t, {self.action_dim}]; got {actions.shape}.")

    def fake_native(self, seed: int = 0, image_hw: tuple[int, int] = (64, 64)) -> dict[str, Any]:
        """A random but valid native observation, for tests and warm-up."""
        rng = np.random.default_rng(seed)
        shape = (3, *image_hw) if self.image_layout == "chw" else (*image_hw, 3)
        flat: dict[str, Any] = {key: rng.integers(0, 256, shape, dtype=np.uint8) for key in self.cameras}
        state = rng.uniform(self.state_low, self.state_high).astype(np.float32)
        return self._as_sent(flat, state, "put the red block on the plate")
