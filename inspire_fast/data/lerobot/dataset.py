"""Reader of LeRobot datasets (v2.0, v2.1, v3.0), with pyarrow, PyAV and Pillow, without PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from inspire_fast.core.errors import OutOfRangeError
from inspire_fast.core.hub import local_dataset
from inspire_fast.core.registry import unknown_name
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.frames import FrameStore
from inspire_fast.data.lerobot.meta import Episode, Feature, Meta, load_meta, some_tasks
from inspire_fast.data.lerobot.parquet import ColumnError, read_table, to_numpy


class LeRobotDataset:
    """A recorded dataset, by row. Rows are numbered over all episodes, frames within one.

    Example:
        >>> import inspire_fast as ifa
        >>> dataset = ifa.LeRobotDataset(root)
        >>> len(dataset), dataset.row(0)["state"].shape
        (48, (8,))

    Numeric columns are read file by file at first use and then kept. Images are decoded when their row is read, and
    cached within `cache_bytes`. Threads may share the dataset; returned arrays are read-only by agreement.

    Args:
        root: folder with `meta`, `data` and, with videos, `videos`.
        cache_bytes: bound on memory for encoded and decoded images and open videos together.
        skipped: episode -> reason for leaving it out. Its rows keep their numbers, so that labels and splits do not
            change, but are never read: its column values are meaningless and its rows raise.

    Attributes:
        meta: the metadata, of which these are parts:
        root: the folder.
        fps: frames per second.
        features: column -> type and shape.
        tasks: task index -> instruction.
        episodes: all episodes in order.

    Raises:
        DatasetError: no dataset, an unsupported version, or damaged metadata.
    """

    def __init__(
        self, root: str | Path, *, cache_bytes: int = 512 << 20, skipped: Mapping[int, str] | None = None
    ) -> None:
        self.meta: Meta = load_meta(local_dataset(root))
        self.root, self.fps = self.meta.root, self.meta.fps
        self.features, self.tasks, self.episodes = self.meta.features, self.meta.tasks, self.meta.episodes
        self.skipped: Mapping[int, str] = dict(sorted((skipped or {}).items()))
        self._cache_bytes = cache_bytes
        self._frames = FrameStore(self.meta, cache_bytes=cache_bytes)
        self._starts = np.array([episode.start for episode in self.meta.episodes])
        self._columns: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return self.meta.total_frames

    def without(self, episodes: Mapping[int, str]) -> LeRobotDataset:
        """The same dataset with more episodes skipped, for the given reasons.

        Raises:
            DatasetError: there is no such episode.
        """
        if unknown := sorted(set(episodes) - set(range(len(self.episodes)))):
            raise DatasetError(
                f"Episodes {unknown} of {self.root} are to be left out: it has {len(self.episodes)} episodes."
            )
        return LeRobotDataset(self.root, cache_bytes=self._cache_bytes, skipped={**self.skipped, **episodes})

    def episode(self, index: int) -> Episode:
        """Bounds, tasks and files of one episode."""
        if not 0 <= index < len(self.episodes):
            raise OutOfRangeError(f"Episode {index} of {self.root}: it has {len(self.episodes)} episodes.")
        return self.episodes[index]

    def locate(self, index: int) -> tuple[Episode, int]:
        """The episode of a dataset row, and the frame number in it."""
        if not 0 <= index < len(self):
            raise OutOfRangeError(f"Row {index} of {self.root}: it has {len(self)} rows.")
        episode = self.episodes[int(np.searchsorted(self._starts, index, side="right")) - 1]
        return episode, index - episode.start

    def task(self, index: int) -> str:
        """The instruction of a dataset row.

        Raises:
            DatasetError: the row has none.
        """
        number = int(self.columns(["task_index"])["task_index"][index])
        if not self.tasks.get(number):
            episode, frame = self.locate(index)
            raise DatasetError(
                f"{episode.data_path}: episode {episode.index}, frame {frame} has no instruction: its task_index is "
                f"{number}, and {self.root / 'meta'} lists {some_tasks(self.tasks)}."
            )
        return self.tasks[number]

    def instructions(self, episode: Episode) -> tuple[tuple[int, int, str], ...]:
        """The instructions of an episode in its order, each with its first frame and one past its last.

        Raises:
            DatasetError: a frame has none.
        """
        numbers = self.columns(["task_index"])["task_index"][episode.start : episode.stop]
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist()]
        texts = [self.task(episode.start + cut) for cut in cuts]
        kept = [i for i, text in enumerate(texts) if i == 0 or text != texts[i - 1]]  # two numbers of one text
        stops = [*(cuts[i] for i in kept[1:]), episode.length]
        return tuple((cuts[i], stop, texts[i]) for i, stop in zip(kept, stops, strict=True))

    def feature(self, name: str) -> Feature:
        """Type and shape of a column.

        Raises:
            DatasetError: no column of that name; the message suggests one.
        """
        if name not in self.features:
            raise DatasetError(f"{self.root}: {unknown_name('column', name, list(self.features))}")
        return self.features[name]

    def columns(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Whole numeric (or text) columns, without reading images.

        Returns:
            name -> `[n]` for the shape (1,), else `[n, *shape]`; annotations (`language`) as Python objects `[n]`.

        Raises:
            DatasetError: a column is missing or holds images, or a file is damaged; names the file and its episodes.
        """
        names = list(names)
        for name in names:
            if self.feature(name).visual:
                raise DatasetError(f"Column {name!r} of {self.root} holds images; read them with `row`.")
        missing = [name for name in names if name not in self._columns]
        if missing:
            self._columns.update(self._read_columns(missing))
        return {name: self._columns[name] for name in names}

    def row(self, index: int, names: Iterable[str] | None = None) -> dict[str, Any]:
        """One row: numeric values, images, and the instruction as `task`.

        Images are uint8 `[h, w, 3]` RGB; depth maps `[h, w, 1]`, as stored in images, metres (float32) from videos.

        Args:
            index: dataset row.
            names: wanted columns (default: all). Other images are not decoded.
        """
        episode, frame = self.locate(index)
        if episode.index in self.skipped:
            raise DatasetError(f"{self.root}: episode {episode.index} is skipped: {self.skipped[episode.index]}")
        wanted = {name: self.feature(name) for name in (self.features if names is None else names)}
        values = self.columns([name for name, feature in wanted.items() if not feature.visual])
        row: dict[str, Any] = {name: column[index] for name, column in values.items()}
        for name, feature in wanted.items():
            if feature.visual:
                time_s = float(self.columns(["timestamp"])["timestamp"][index]) if feature.dtype == "video" else 0.0
                row[name] = self._frames.image(name, episode, frame, time_s)
        row["task"] = self.task(index)
        return row

    def read_file(
        self, path: Path, names: Sequence[str], episodes: Sequence[Episode], *, bad: dict[int, str] | None = None
    ) -> dict[str, np.ndarray]:
        """Columns of one data file, as from `columns` but not kept; values of skipped episodes are meaningless.

        Args:
            path: the file.
            names: columns without images.
            episodes: all episodes of the file, in order.
            bad: collects episodes whose values make no array, with the reason, instead of raising; their values are
                meaningless, too.

        Raises:
            DatasetError: the file is missing, damaged, or contradicts the metadata; names episode and frame if
                possible.
        """
        where = f"{path} (episodes {episodes[0].index}..{episodes[-1].index})"
        table = read_table(path, list(dict.fromkeys([*names, "episode_index"])))
        owners = np.repeat([e.index for e in episodes], [e.length for e in episodes])
        if table.num_rows != len(owners):
            raise DatasetError(f"{where} has {table.num_rows} rows; the episode table expects {len(owners)}.")
        wrong = np.flatnonzero(table["episode_index"].to_numpy() != owners)
        if len(wrong):
            first = int(wrong[0])
            raise DatasetError(
                f"{where}: row {first} belongs to episode {table['episode_index'][first]}, "
                f"the episode table says {owners[first]}."
            )
        left_out = {e.index for e in episodes} & {*self.skipped}
        return {name: self._values(table[name], name, owners, left_out, bad, where) for name in names}

    def _values(
        self,
        column: pa.ChunkedArray,
        name: str,
        owners: np.ndarray,
        left_out: set[int],
        bad: dict[int, str] | None,
        where: str,
    ) -> np.ndarray:
        """One column of a file whose rows belong to the episodes `owners`; adds bad ones to `left_out` and `bad`."""
        while True:
            rows = np.flatnonzero(~np.isin(owners, list(left_out)))
            try:
                kept = column if len(rows) == len(owners) else column.take(pa.array(rows))
                values = _shaped(to_numpy(kept), self.feature(name))
            except ColumnError as error:
                if not len(error.rows):
                    raise DatasetError(f"{where}: column {name!r} {error}.") from error
                reasons = _by_episode(rows[error.rows], owners, f"column {name!r} {error}.", where)
                left_out |= {*reasons}
                if bad is None or left_out >= {*np.unique(owners).tolist()}:
                    raise DatasetError(next(iter(reasons.values()))) from error
                bad |= reasons
                continue
            if len(rows) == len(owners):
                return values
            whole = np.zeros((len(owners), *values.shape[1:]), values.dtype)
            whole[rows] = values
            return whole

    def files(self) -> dict[Path, list[Episode]]:
        """Data file -> its episodes, both in order."""
        rows_of: dict[Path, list[Episode]] = {}
        for episode in self.episodes:
            rows_of.setdefault(episode.data_path, []).append(episode)
        return rows_of

    def _read_columns(self, names: list[str]) -> dict[str, np.ndarray]:
        columns: dict[str, np.ndarray] = {}
        for path, episodes in self.files().items():
            if all(e.index in self.skipped for e in episodes):
                continue
            for name, values in self.read_file(path, names, episodes).items():
                whole = columns.get(name)
                if whole is None:
                    whole = np.zeros((len(self), *values.shape[1:]), values.dtype)
                elif whole.shape[1:] != values.shape[1:]:
                    raise DatasetError(
                        f"{path}: column {name!r} holds values of shape {values.shape[1:]}; other files of the dataset "
                        f"hold {whole.shape[1:]}."
                    )
                elif (dtype := np.result_type(whole, values)) != whole.dtype:
                    whole = whole.astype(dtype)
                # Episode by episode: episodes of several files may alternate.
                for episode in episodes:
                    whole[episode.start : episode.stop] = values[episode.file_row : episode.file_row + episode.length]
                columns[name] = whole
        if not columns:
            raise DatasetError(f"{self.root}: every episode is skipped: {dict(list(self.skipped.items())[:5])}.")
        return columns


def _by_episode(rows: np.ndarray, owners: np.ndarray, what: str, where: str) -> dict[int, str]:
    """Episode -> its defect, with its first bad frame; in one pass, however many episodes are bad."""
    bad, first = np.unique(owners[rows], return_index=True)
    starts = dict(zip(*(values.tolist() for values in np.unique(owners, return_index=True)), strict=True))
    return {
        number: f"{where}: episode {number}, frame {int(row) - starts[number]}: {what}"
        for number, row in zip(bad.tolist(), rows[first], strict=True)
    }


def _shaped(values: np.ndarray, feature: Feature) -> np.ndarray:
    """Values as the feature declares them: `[n]` for (1,), else `[n, *shape]`."""
    if not feature.shape or values.dtype == object:
        return values
    if math.prod(values.shape[1:]) != math.prod(feature.shape):
        raise ColumnError(f"holds values of shape {values.shape[1:]}; meta/info.json declares {feature.shape}")
    return values.reshape(len(values), *(() if feature.shape == (1,) else feature.shape))
