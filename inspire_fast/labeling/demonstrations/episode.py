"""A recorded demonstration: observations, actions and truth at every control step, and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import open_atomic
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.robots.libero import LIBERO

FRONT = "observation/image"  # the camera of all places in pictures
_IMAGE_PREFIX = "image:"
_LATER = frozenset({"gripper_px", "trace_px", "box_px"})  # arrays that older recordings lack


@dataclass(frozen=True, kw_only=True)
class RecordedEpisode:
    """One demonstration. Letters: `n` control steps, `k` targets, `m` images per camera, `s` state, `a` action.

    Row `i` of every per-step array is the instant *before* action `i`. There are images of every `chunk`-th step only,
    because rendering takes most of a recording's time.

    Attributes:
        state: float32 `[n, s]`, native units.
        actions: float32 `[n, a]`, native, as sent.
        phrases: the targets, as the instruction words them, in its order.
        offset_m: float32 `[n, k, 3]`, target minus gripper, metres, robot's world axes.
        grasped: bool `[n, k]`.
        point_px: float32 `[n, k, 2]`, `(y, x)` in 0..1 of the front image; NaN if the point is not in it.
        gripper_px: float32 `[n, 2]`, likewise; None in older recordings.
        trace_px: float32 `[n, p, 2]`, the gripper's coming path (see `SceneFacts.trace_px`); NaN without one. None in
            older recordings.
        box_px: float32 `[n, k, 4]`, boxes of what is visible (see `TargetFacts.box_px`); NaN for a hidden target and in
            steps without an image. None if boxes were not asked for.
        images: native camera key -> uint8 `[m, h, w, 3]`.
        chunk: steps from one image to the next.
        prompt: the instruction.
        success: the simulator's verdict at the end.
        suite, task, episode, seed: the recorded task, initial state and seed of the variation.
        failures: failed attempts before this one.
    """

    state: np.ndarray
    actions: np.ndarray
    phrases: tuple[str, ...]
    offset_m: np.ndarray
    grasped: np.ndarray
    point_px: np.ndarray
    images: Mapping[str, np.ndarray]
    chunk: int
    prompt: str
    success: bool
    suite: str
    task: int
    episode: int
    seed: int
    failures: int = 0
    gripper_px: np.ndarray | None = None
    trace_px: np.ndarray | None = None
    box_px: np.ndarray | None = None

    def __post_init__(self) -> None:
        n, k = len(self.actions), len(self.phrases)
        expected = {"state": (n,), "offset_m": (n, k, 3), "grasped": (n, k), "point_px": (n, k, 2)}
        later = {"gripper_px": (n, 2), "trace_px": (n,), "box_px": (n, k, 4)}
        expected |= {name: shape for name, shape in later.items() if getattr(self, name) is not None}
        got = {name: getattr(self, name).shape[: len(shape)] for name, shape in expected.items()}
        if got != expected:
            raise ValueError(f"A recorded episode of {n} steps and {k} targets needs shapes {expected}; got {got}.")
        if self.chunk < 1:
            raise ValueError(f"chunk must be >= 1; got {self.chunk}.")
        frames = -(-n // self.chunk)
        if any(len(images) != frames for images in self.images.values()):
            lengths = {key: len(images) for key, images in self.images.items()}
            raise ValueError(
                f"{n} steps with an image every {self.chunk} need {frames} images per camera; got {lengths}."
            )

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def image_index(self) -> np.ndarray:
        """int `[n]`: number of the newest image at each step."""
        return np.arange(len(self)) // self.chunk

    @property
    def image_age(self) -> np.ndarray:
        """int `[n]`: age of that image in steps."""
        return np.arange(len(self)) % self.chunk

    def facts(self, step: int) -> SceneFacts:
        """Truth before action `step`."""
        at = {name: getattr(self, name) for name in ("gripper_px", "trace_px", "box_px")}
        gripper, trace, boxes = (None if values is None else values[step] for values in at.values())
        return SceneFacts(
            targets=tuple(
                TargetFacts(
                    phrase=phrase,
                    offset_m=self.offset_m[step, i],
                    grasped=bool(self.grasped[step, i]),
                    point_px=_place(self.point_px[step, i]),
                    box_px=None if boxes is None else _place(boxes[i]),
                )
                for i, phrase in enumerate(self.phrases)
            ),
            gripper_px=None if gripper is None else _place(gripper),
            trace_px=None if trace is None or np.isnan(trace[0, 0]) else trace,
            camera=LIBERO.cameras[FRONT],
        )


def fact_arrays(scenes: Sequence[SceneFacts]) -> dict[str, Any]:
    """Facts per step as fields of a `RecordedEpisode`, without traces; `box_px` only if there are boxes."""
    steps = [scene.targets for scene in scenes]
    arrays = {
        "phrases": tuple(target.phrase for target in steps[0]),
        "offset_m": np.array([[target.offset_in("base") for target in row] for row in steps], np.float32),
        "grasped": np.array([[target.grasped for target in row] for row in steps]),
        "point_px": np.array([[target.point_px or (np.nan,) * 2 for target in row] for row in steps], np.float32),
        "gripper_px": np.array([scene.gripper_px or (np.nan,) * 2 for scene in scenes], np.float32),
    }
    boxes = np.array([[target.box_px or (np.nan,) * 4 for target in row] for row in steps], np.float32)
    return arrays if np.isnan(boxes).all() else {**arrays, "box_px": boxes}


def trace_array(traces: Sequence[np.ndarray | None], points: int) -> np.ndarray:
    """Traces per step, each `[p, 2]` or None, as the field `trace_px` of a `RecordedEpisode`."""
    nothing = np.full((points, 2), np.nan, np.float32)
    return np.stack([nothing if trace is None else trace for trace in traces])


def _place(values: np.ndarray) -> Any:
    """A point or box from its numbers; None if they are NaN."""
    return None if np.isnan(values[0]) else tuple(map(float, values))


def save_episode(episode: RecordedEpisode, path: Path) -> None:
    """Writes one `.npz`. The file appears complete or not at all."""
    arrays = {field.name: getattr(episode, field.name) for field in fields(episode) if field.name != "images"}
    arrays = {name: value for name, value in arrays.items() if value is not None}
    arrays.update({f"{_IMAGE_PREFIX}{key}": images for key, images in episode.images.items()})
    with open_atomic(path) as stream:
        np.savez_compressed(stream, **arrays)


def load_episode(path: str | Path) -> RecordedEpisode:
    """Reads a file of `save_episode`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another content; names missing and unknown arrays.
    """
    with np.load(path, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    images = {key.removeprefix(_IMAGE_PREFIX): arrays.pop(key) for key in list(arrays) if key.startswith(_IMAGE_PREFIX)}
    names = {field.name for field in fields(RecordedEpisode)} - {"images"}
    if not names - _LATER <= set(arrays) <= names:
        raise ValueError(
            f"{path} is no recorded episode of this version: missing {sorted(names - _LATER - set(arrays))}, "
            f"unknown {sorted(set(arrays) - names)}. Record it again."
        )
    values = {key: value.item() if value.ndim == 0 else value for key, value in arrays.items()}
    values["phrases"] = tuple(str(phrase) for phrase in values["phrases"])
    return RecordedEpisode(images=images, **values)
