"""LeRobot datasets (v2.0, v2.1, v3.0) read with pyarrow, PyAV and Pillow; no PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from inspire_fast.core.registry import unknown_name
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.frames import FrameStore
from inspire_fast.data.lerobot_meta import Episode, Feature, Meta, load_meta
from inspire_fast.data.parquet import read_table


class LeRobotDataset:
    """Rows of a recorded dataset by number. Rows are numbered over all episodes; frames within one.

    Numeric columns are read file by file when first asked for and then kept; pictures are decoded only when a row is
    asked for, and kept within `cache_bytes`. Safe to share between threads; arrays returned are read-only by agreement.

    Args:
        root: folder with `meta`, `data` and, with videos, `videos`.
        cache_bytes: bound on memory for encoded and decoded pictures and open videos together.

    Raises:
        DatasetError: no dataset there, a version that is not supported, or damaged metadata.
    """

    def __init__(self, root: Path, *, cache_bytes: int = 512 << 20) -> None:
        self.meta: Meta = load_meta(Path(root))
        self._frames = FrameStore(self.meta, cache_bytes=cache_bytes)
        self._starts = np.array([episode.start for episode in self.meta.episodes])
        self._columns: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return self.meta.total_frames

    @property
    def root(self) -> Path:
        """Its folder."""
        return self.meta.root

    @property
    def info(self) -> Mapping[str, Any]:
        """`meta/info.json` as it stands."""
        return self.meta.info

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.meta.fps

    @property
    def features(self) -> Mapping[str, Feature]:
        """Column -> type and shape."""
        return self.meta.features

    @property
    def tasks(self) -> Mapping[int, str]:
        """Task index -> instruction."""
        return self.meta.tasks

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """All episodes in order."""
        return self.meta.episodes

    def episode(self, index: int) -> Episode:
        """Bounds, tasks and files of one episode."""
        if not 0 <= index < len(self.episodes):
            raise IndexError(f"Episode {index} of {self.root}: it has {len(self.episodes)} episodes.")
        return self.episodes[index]

    def locate(self, index: int) -> tuple[Episode, int]:
        """The episode of a dataset row, and the frame number in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"Row {index} of {self.root}: it has {len(self)} rows.")
        episode = self.episodes[int(np.searchsorted(self._starts, index, side="right")) - 1]
        return episode, index - episode.start

    def task(self, index: int) -> str:
        """The instruction of a dataset row.

        Raises:
            DatasetError: the row has none.
        """
        number = int(self.columns(["task_index"])["task_index"][index])
        if number not in self.tasks:
            episode, frame = self.locate(index)
            raise DatasetError(
                f"{episode.data_path}: episode {episode.index}, frame {frame} has task_index {number}, "
                f"but {self.root / 'meta'} lists the tasks {sorted(self.tasks)}."
            )
        return self.tasks[number]

    def columns(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Whole numeric (or text) columns; never touches a picture.

        Returns:
            name -> `[n]` where the file stores one value per row, `[n, ...]` where it stores a list.

        Raises:
            DatasetError: no such column, it holds pictures, or a file is damaged; names the file and its episodes.
        """
        names = list(names)
        for name in names:
            if self._feature(name).visual:
                raise DatasetError(f"Column {name!r} of {self.root} holds pictures; read them with `row`.")
        missing = [name for name in names if name not in self._columns]
        if missing:
            self._columns.update(self._read_columns(missing))
        return {name: self._columns[name] for name in names}

    def row(self, index: int, names: Iterable[str] | None = None) -> dict[str, Any]:
        """One row: numeric values, pictures as uint8 `[h, w, 3]` RGB, and the instruction as `task`.

        Args:
            index: dataset row.
            names: columns wanted (default: all). Pictures that are not named are not decoded.
        """
        episode, frame = self.locate(index)
        wanted = {name: self._feature(name) for name in (self.features if names is None else names)}
        values = self.columns([name for name, feature in wanted.items() if not feature.visual])
        row: dict[str, Any] = {name: column[index] for name, column in values.items()}
        for name, feature in wanted.items():
            if feature.visual:
                time_s = float(self.columns(["timestamp"])["timestamp"][index]) if feature.dtype == "video" else 0.0
                row[name] = self._frames.image(name, episode, frame, time_s)
        row["task"] = self.task(index)
        return row

    def _feature(self, name: str) -> Feature:
        if name not in self.features:
            raise DatasetError(f"{self.root}: {unknown_name('column', name, list(self.features))}")
        return self.features[name]

    def _read_columns(self, names: list[str]) -> dict[str, np.ndarray]:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        # Episodes are in order, and so are the rows in each file; a dict keeps the files' order of first use.
        rows_of: dict[Path, list[Episode]] = {}
        for episode in self.episodes:
            rows_of.setdefault(episode.data_path, []).append(episode)
        for path, episodes in rows_of.items():
            for name, values in _read_file(path, names, episodes).items():
                parts[name].append(values)
        try:
            return {name: np.concatenate(values) for name, values in parts.items()}
        except ValueError as error:
            shapes = {name: sorted({v.shape[1:] for v in values}) for name, values in parts.items()}
            raise DatasetError(f"{self.root}: the data files disagree about the columns' shapes: {shapes}.") from error


def _read_file(path: Path, names: list[str], episodes: list[Episode]) -> dict[str, np.ndarray]:
    where = f"{path} (episodes {episodes[0].index}..{episodes[-1].index})"
    table = read_table(path, list(dict.fromkeys([*names, "episode_index"])))
    expected = np.repeat([e.index for e in episodes], [e.length for e in episodes])
    if table.num_rows != len(expected):
        raise DatasetError(f"{where} has {table.num_rows} rows; the episode table expects {len(expected)}.")
    wrong = np.flatnonzero(table["episode_index"].to_numpy() != expected)
    if len(wrong):
        bad = int(wrong[0])
        raise DatasetError(
            f"{where}: row {bad} belongs to episode {table['episode_index'][bad]}, "
            f"the episode table says {expected[bad]}."
        )
    return {name: _to_numpy(table[name], name, where) for name in names}


def _to_numpy(column: pa.ChunkedArray, name: str, where: str) -> np.ndarray:
    if column.null_count:
        raise DatasetError(f"{where}: column {name!r} has {column.null_count} empty values.")
    array = column.combine_chunks()
    kind = array.type
    if pa.types.is_fixed_size_list(kind) and pa.types.is_primitive(kind.value_type):
        return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), kind.list_size)
    if pa.types.is_nested(kind):
        try:
            return np.asarray(array.to_pylist(), dtype=_leaf(kind).to_pandas_dtype())
        except ValueError as error:
            raise DatasetError(f"{where}: the lists in column {name!r} differ in length: {error}") from error
    return array.to_numpy(zero_copy_only=False)


def _leaf(kind: pa.DataType) -> pa.DataType:
    while pa.types.is_nested(kind):
        kind = kind.value_type  # type: ignore[attr-defined]
    return kind
