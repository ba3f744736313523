"""A recorded demonstration: observations, actions and truth at every control step, and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import open_atomic
from inspire_fast.core.types import SceneFacts, TargetFacts

_IMAGE_PREFIX = "image:"


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

    def __post_init__(self) -> None:
        n, k = len(self.actions), len(self.phrases)
        expected = {"state": (n,), "offset_m": (n, k, 3), "grasped": (n, k), "point_px": (n, k, 2)}
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
        return SceneFacts(
            targets=tuple(
                TargetFacts(
                    phrase=phrase,
                    offset_m=self.offset_m[step, i],
                    grasped=bool(self.grasped[step, i]),
                    point_px=None if np.isnan(point[0]) else (float(point[0]), float(point[1])),
                )
                for i, (phrase, point) in enumerate(zip(self.phrases, self.point_px[step], strict=True))
            )
        )


def target_arrays(steps: Sequence[Sequence[TargetFacts]]) -> dict[str, Any]:
    """Facts per step as the fields `phrases`, `offset_m`, `grasped` and `point_px` of a `RecordedEpisode`."""
    outside = (np.nan, np.nan)
    return {
        "phrases": tuple(target.phrase for target in steps[0]),
        "offset_m": np.array([[target.offset_m for target in row] for row in steps], np.float32),
        "grasped": np.array([[target.grasped for target in row] for row in steps]),
        "point_px": np.array([[target.point_px or outside for target in row] for row in steps], np.float32),
    }


def save_episode(episode: RecordedEpisode, path: Path) -> None:
    """Writes one `.npz`. The file appears complete or not at all."""
    arrays = {field.name: getattr(episode, field.name) for field in fields(episode) if field.name != "images"}
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
    if set(arrays) != names:
        raise ValueError(
            f"{path} is no recorded episode of this version: missing {sorted(names - set(arrays))}, "
            f"unknown {sorted(set(arrays) - names)}. Record it again."
        )
    values = {key: value.item() if value.ndim == 0 else value for key, value in arrays.items()}
    values["phrases"] = tuple(str(phrase) for phrase in values["phrases"])
    return RecordedEpisode(images=images, **values)
