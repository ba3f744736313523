"""Observations of an episode, saved for attention maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import open_atomic
from inspire_fast.evaluation.records.records import Key

FOLDER = "looks"  # its name in evaluations of earlier versions, too


def observations_file(folder: Path, key: Key) -> Path:
    """The file of an episode's observations."""
    return folder / FOLDER / f"{key[0]}_{key[1]}_{key[2]}.npz"


def save_observations(path: Path, seen: Sequence[Mapping[str, Any]]) -> None:
    """Writes the observations of an episode, one per call of the policy, stacked over calls."""
    stacked: dict[str, Any] = {key: np.stack([one[key] for one in seen]) for key in seen[0]} if seen else {}
    with open_atomic(path) as stream:
        np.savez_compressed(stream, **stacked)


def load_observations(path: Path) -> list[dict[str, Any]]:
    """Reads the observations, in the order of the calls."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    count = len(next(iter(arrays.values()), ()))
    return [{k: str(v[n]) if v.dtype.kind == "U" else v[n] for k, v in arrays.items()} for n in range(count)]
