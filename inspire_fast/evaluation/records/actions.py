"""Actions of an episode as they were executed, and the chunks that they came from: enough to repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inspire_fast.core.files import open_atomic
from inspire_fast.core.types import ActionChunk
from inspire_fast.evaluation.records.records import Key

FOLDER = "actions"


@dataclass(frozen=True, kw_only=True)
class EpisodeActions:
    """Actions of one episode. Letters: `n` control steps, `c` calls of the policy, `t` horizon, `a` action.

    Attributes:
        sent: float32 `[n, a]`, native, as the simulator executed them.
        steps: int `[c]`, control step of each call.
        chunks: float32 `[c, t, a]`, native, as the policy gave them; NaN where it held.
    """

    sent: np.ndarray
    steps: np.ndarray
    chunks: np.ndarray


def actions_file(folder: Path, key: Key) -> Path:
    """The file of an episode's actions in an evaluation's folder."""
    return folder / FOLDER / f"{key[0]}_{key[1]}_{key[2]}.npz"


def save_actions(path: Path, sent: Sequence[np.ndarray], calls: Sequence[tuple[int, ActionChunk]]) -> None:
    """Writes the actions of an episode.

    Args:
        path: see `actions_file`.
        sent: one per control step, `[a]`.
        calls: control step and chunk of each call.
    """
    shapes = [chunk.actions.shape for _, chunk in calls if chunk.actions is not None]
    chunks = np.full((len(calls), *max(shapes, default=(0, 0))), np.nan, np.float32)
    for row, (_, chunk) in zip(chunks, calls, strict=True):
        if chunk.actions is not None:
            row[: len(chunk.actions)] = chunk.actions
    with open_atomic(path) as stream:
        np.savez_compressed(
            stream,
            sent=np.array(sent, np.float32),
            steps=np.array([step for step, _ in calls], np.int64),
            chunks=chunks,
        )


def load_actions(path: Path) -> EpisodeActions:
    """Reads a file of `save_actions`.

    Raises:
        FileNotFoundError: the evaluation saved none; it is older than this version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: evaluations save actions since version 0.1. Run it again.")
    with np.load(path, allow_pickle=False) as archive:
        return EpisodeActions(**{name: archive[name] for name in ("sent", "steps", "chunks")})
