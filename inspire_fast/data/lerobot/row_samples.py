"""Digests of the numbers of a few episodes, which tell labels of these rows from labels of others of the same shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import hashlib

import numpy as np

from inspire_fast.core.console import command_line
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset

_EPISODES = 8

Samples = Mapping[str, Mapping[str, str]]
"""Episode's number -> column -> digest of its values; a mapping of JSON."""


def sample_rows(dataset: LeRobotDataset, episodes: Sequence[int]) -> dict[str, dict[str, str]]:
    """Samples of some of the episodes, evenly apart, in all columns of floats but the clock; unreadable ones are left.

    New columns and a rewritten clock (LeRobot's tools) change no label, so that they must not change a sample.
    """
    columns = [n for n, f in dataset.features.items() if f.dtype.startswith("float") and n != "timestamp"]
    places = np.unique(np.linspace(0, len(episodes) - 1, min(_EPISODES, len(episodes))).astype(int))
    return {
        str(number): found for number in (episodes[i] for i in places) if (found := _digests(dataset, number, columns))
    }


def require_rows_of(dataset: LeRobotDataset, samples: Samples) -> None:
    """Checks that the dataset has the rows that labels were made from. Skipped episodes and lost columns are no matter.

    Raises:
        DatasetError: it has others; names the episode and the column.
    """
    for number, stored in samples.items():
        columns = [name for name in stored if name in dataset.features]
        for name, digest in _digests(dataset, int(number), columns).items():
            if digest != stored[name]:
                raise DatasetError(
                    f"The labels of {dataset.root} were made from other rows: {name!r} of episode {number} has other "
                    f"numbers now. Label the dataset again (`{command_line('label_dataset')}`)."
                )


def _digests(dataset: LeRobotDataset, number: int, columns: Sequence[str]) -> dict[str, str]:
    episode = dataset.episode(number)
    if number in dataset.skipped or not columns:
        return {}
    bad: dict[int, str] = {}
    try:
        values = dataset.read_file(episode.data_path, columns, dataset.files()[episode.data_path], bad=bad)
    except DatasetError:  # said by those that read the dataset
        return {}
    rows = slice(episode.file_row, episode.file_row + episode.length)
    return {} if number in bad else {name: _digest(column[rows]) for name, column in values.items()}


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
