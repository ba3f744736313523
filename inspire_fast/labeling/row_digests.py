"""A dataset's own rows, one episode at a time, and digests that reveal when they change."""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
import json

import numpy as np

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Episode

_NUMBERS = ("index", "episode_index", "frame_index")  # the row's place in the dataset, not what was recorded


class EpisodeRows:
    """Columns of one episode after another; keeps the columns of one data file in memory.

    `LeRobotDataset.columns` keeps whole columns: right for training, too much for labelling millions of frames.

    Args:
        dataset: whose rows.
        names: columns without images.
    """

    def __init__(self, dataset: LeRobotDataset, names: Sequence[str]) -> None:
        self._dataset, self._names, self._files = dataset, tuple(names), dataset.files()
        self._of: Episode | None = None
        self._columns: dict[str, np.ndarray] = {}
        self._bad: dict[int, str] = {}

    def __call__(self, episode: Episode) -> dict[str, np.ndarray]:
        """Name -> values of the episode's frames, as in `LeRobotDataset.columns`.

        Raises:
            DatasetError: the file is missing or damaged, a value of this episode makes no array (names file, episode
                and frame), or the dataset leaves the episode out.
        """
        if episode.index in self._dataset.skipped:
            raise DatasetError(f"episode {episode.index} is skipped: {self._dataset.skipped[episode.index]}")
        if self._of is None or self._of.data_path != episode.data_path:
            self._of, self._columns, self._bad = None, {}, {}  # free the last file's memory before reading the next
            path, episodes = episode.data_path, self._files[episode.data_path]
            self._columns = self._dataset.read_file(path, self._names, episodes, bad=self._bad)
            self._of = episode
        if episode.index in self._bad:
            raise DatasetError(self._bad[episode.index])
        rows = slice(episode.file_row, episode.file_row + episode.length)
        return {name: values[rows] for name, values in self._columns.items()}


class RowDigests:
    """Digests of each episode's own rows: states, actions, times, instruction and all other columns without images.

    The columns depend on the dataset alone, so that digests of runs with different options can be compared.
    """

    def __init__(self, dataset: LeRobotDataset) -> None:
        names = [name for name, feature in dataset.features.items() if not feature.visual and name not in _NUMBERS]
        self._dataset, self._rows = dataset, EpisodeRows(dataset, names)

    def __call__(self, episode: Episode) -> str:
        """SHA-256 in hexadecimal digits.

        Raises:
            DatasetError: see `EpisodeRows`.
        """
        columns = self._rows(episode)
        digest = hashlib.sha256()
        for name, values in sorted(columns.items()):
            digest.update(f"{name} {values.dtype} {values.shape} ".encode())
            if values.dtype == object:
                digest.update(json.dumps(values.tolist(), default=str).encode())
            else:
                digest.update(np.ascontiguousarray(values).tobytes())
        numbers = np.unique(columns["task_index"]).tolist() if "task_index" in columns else []
        digest.update(json.dumps([self._dataset.tasks.get(number) for number in numbers]).encode())
        return digest.hexdigest()
