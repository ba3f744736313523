"""Where a LeRobot dataset's rows, frames and tables go on disk: v3.0 shares files between episodes, v2.1 has one per episode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import json
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inspire_fast.core.files import write_json, write_text
from inspire_fast.data.lerobot.meta import Feature
from inspire_fast.data.lerobot.schema import episodes_schema, tasks_table
from inspire_fast.data.video import Codec, VideoEncoder

Version = Literal["v3.0", "v2.1"]
CHUNK_FILES = 1000  # files per folder
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200


class Layout(Protocol):
    """One version's way to lay an episode down. Paths below the dataset's root are templates of `info.json`."""

    data_path: str
    video_path: str

    def add_data(self, tables: Sequence[pa.Table], *, repeats: bool) -> dict[str, int]:
        """Appends the next episode's rows, each table a row group; what the episode table says about their place.

        With `repeats`, images stand on several frames and are stored once; decided for a whole file by its first episode.
        """
        ...

    def add_video(self, feature: Feature, images: Sequence[np.ndarray]) -> dict[str, float]:
        """Appends the next episode's frames of one camera; what the episode table says about their place."""
        ...

    def data_files(self) -> list[Path]:
        """Every data file so far, in order of rows."""
        ...

    def close_files(self) -> None:
        """Writes out what encoders and parquet files still hold."""
        ...

    def write_tables(self, rows: Sequence[Mapping[str, Any]], stats: Mapping[str, Any], tasks: Sequence[str]) -> None:
        """Writes `meta/` but for `info.json`: the episodes, their statistics, the dataset's, and the instructions."""
        ...

    def info(self, episodes: int) -> dict[str, Any]:
        """What `info.json` of this version has beyond the common fields."""
        ...


class SharedFiles:
    """v3.0: many episodes per parquet file and per mp4, tables in parquet."""

    data_path = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    video_path = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

    def __init__(
        self, root: Path, schema: pa.Schema, features: Mapping[str, Feature], *, fps: int, codec: Codec
    ) -> None:
        self._root, self._schema, self._features = root, schema, features
        self._fps: int = fps
        self._codec: Codec = codec
        self._data: pq.ParquetWriter | None = None
        self._data_file = -1
        self._encoders: dict[str, VideoEncoder] = {}
        self._video_file: dict[str, int] = {}

    def add_data(self, tables: Sequence[pa.Table], *, repeats: bool) -> dict[str, int]:
        """See `Layout.add_data`."""
        if self._data is None:
            self._data_file += 1
            self._data = parquet_writer(self._file(self._data_file), self._schema, repeats=repeats)
        write_groups(self._data, tables)
        if self._file(self._data_file).stat().st_size > DATA_FILE_MB << 20:
            self._data.close()
            self._data = None
        return {f"data/{key}": value for key, value in place(self._data_file).items()}

    def add_video(self, feature: Feature, images: Sequence[np.ndarray]) -> dict[str, float]:
        """See `Layout.add_video`."""
        name = feature.name
        if name not in self._encoders:
            self._video_file[name] = self._video_file.get(name, -1) + 1
            path = self._root / self.video_path.format(video_key=name, **place(self._video_file[name]))
            self._encoders[name] = encoder(path, feature, fps=self._fps, codec=self._codec)
        video = self._encoders[name]
        row: dict[str, float] = {f"videos/{name}/{key}": v for key, v in place(self._video_file[name]).items()}
        row[f"videos/{name}/from_timestamp"] = video.frames / self._fps
        for image in images:
            video.add(image)
        row[f"videos/{name}/to_timestamp"] = video.frames / self._fps
        if video.nbytes > VIDEO_FILE_MB << 20:
            self._encoders.pop(name).close()
        return row

    def data_files(self) -> list[Path]:
        """See `Layout.data_files`."""
        return [self._file(number) for number in range(self._data_file + 1)]

    def close_files(self) -> None:
        """See `Layout.close_files`."""
        if self._data is not None:
            self._data.close()
            self._data = None
        while self._encoders:
            self._encoders.popitem()[1].close()

    def write_tables(self, rows: Sequence[Mapping[str, Any]], stats: Mapping[str, Any], tasks: Sequence[str]) -> None:
        """See `Layout.write_tables`."""
        path = self._root / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
        path.parent.mkdir(parents=True)
        here = {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        pq.write_table(
            pa.Table.from_pylist([{**r, **here} for r in rows], schema=episodes_schema(self._features)), path
        )
        pq.write_table(tasks_table(tasks), self._root / "meta" / "tasks.parquet")
        write_json(self._root / "meta" / "stats.json", stats, indent=4)

    def info(self, episodes: int) -> dict[str, Any]:  # noqa: ARG002
        """See `Layout.info`."""
        return {"data_files_size_in_mb": DATA_FILE_MB, "video_files_size_in_mb": VIDEO_FILE_MB}

    def _file(self, number: int) -> Path:
        return self._root / self.data_path.format(**place(number))


class EpisodeFiles:
    """v2.1: a parquet file and, per camera, an mp4 for each episode; tables as JSON lines."""

    data_path = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    video_path = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    # v2.1 knows neither quantiles nor statistics without a number per element.
    _STATS = ("min", "max", "mean", "std", "count")

    def __init__(
        self, root: Path, schema: pa.Schema, features: Mapping[str, Feature], *, fps: int, codec: Codec
    ) -> None:
        self._root, self._schema, self._features = root, schema, features
        self._fps: int = fps
        self._codec: Codec = codec
        self._files: list[Path] = []

    def add_data(self, tables: Sequence[pa.Table], *, repeats: bool) -> dict[str, int]:
        """See `Layout.add_data`."""
        path = self._path(self.data_path, len(self._files))
        self._files.append(path)
        with parquet_writer(path, self._schema, repeats=repeats) as file:
            write_groups(file, tables)
        return {}

    def add_video(self, feature: Feature, images: Sequence[np.ndarray]) -> dict[str, float]:
        """See `Layout.add_video`. Videos come before their episode's rows."""
        path = self._path(self.video_path, len(self._files), video_key=feature.name)
        video = encoder(path, feature, fps=self._fps, codec=self._codec)
        try:
            for image in images:
                video.add(image)
        finally:
            video.close()
        return {}

    def data_files(self) -> list[Path]:
        """See `Layout.data_files`."""
        return self._files

    def close_files(self) -> None:
        """See `Layout.close_files`. Nothing stays open between episodes."""

    def write_tables(self, rows: Sequence[Mapping[str, Any]], stats: Mapping[str, Any], tasks: Sequence[str]) -> None:
        """See `Layout.write_tables`. The dataset's own statistics are not stored in v2.1: LeRobot aggregates them."""
        meta = self._root / "meta"
        meta.mkdir(parents=True)
        write_lines(meta / "tasks.jsonl", ({"task_index": i, "task": task} for i, task in enumerate(tasks)))
        write_lines(
            meta / "episodes.jsonl", ({k: row[k] for k in ("episode_index", "tasks", "length")} for row in rows)
        )
        write_lines(
            meta / "episodes_stats.jsonl",
            (
                {
                    "episode_index": row["episode_index"],
                    "stats": {name: {s: row[f"stats/{name}/{s}"] for s in self._STATS} for name in stats},
                }
                for row in rows
            ),
        )

    def info(self, episodes: int) -> dict[str, Any]:
        """See `Layout.info`."""
        cameras = sum(feature.dtype == "video" for feature in self._features.values())
        return {"total_videos": episodes * cameras, "total_chunks": -(-episodes // CHUNK_FILES)}

    def _path(self, template: str, episode: int, **names: str) -> Path:
        return self._root / template.format(episode_chunk=episode // CHUNK_FILES, episode_index=episode, **names)


LAYOUTS: dict[Version, type[SharedFiles] | type[EpisodeFiles]] = {"v3.0": SharedFiles, "v2.1": EpisodeFiles}


def place(number: int) -> dict[str, int]:
    """Folder and file of the n-th file: `chunk-000/file-000`, ..., `chunk-000/file-999`, `chunk-001/file-000`."""
    return {"chunk_index": number // CHUNK_FILES, "file_index": number % CHUNK_FILES}


def parquet_writer(path: Path, schema: pa.Schema, *, repeats: bool) -> pq.ParquetWriter:
    """An open data file; images get a dictionary only where they repeat, since reading one takes twice as long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dictionaries = [leaf for leaf in _leaf_paths(schema) if repeats or not leaf.endswith(".bytes")]
    # The default limit of 1 MB would give up on the dictionary, and store repeated images again and again.
    return pq.ParquetWriter(path, schema, dictionary_pagesize_limit=1 << 30, use_dictionary=dictionaries)  # type: ignore[arg-type]


def _leaf_paths(schema: pa.Schema) -> list[str]:
    """Parquet's names of the columns, e.g. `image.bytes`, `state.list.element`."""
    paths = []
    for field in schema:
        if pa.types.is_struct(field.type):
            paths += [f"{field.name}.{inner.name}" for inner in field.type]
        elif pa.types.is_nested(field.type):
            paths.append(f"{field.name}.list.element")
        else:
            paths.append(field.name)
    return paths


def write_groups(file: pq.ParquetWriter, tables: Sequence[pa.Table]) -> None:
    """Writes each table as one row group."""
    for table in tables:
        file.write_table(table, row_group_size=len(table))


def encoder(path: Path, feature: Feature, *, fps: int, codec: Codec) -> VideoEncoder:
    """An open video file."""
    height, width, _ = feature.shape
    return VideoEncoder(path, fps=fps, height=height, width=width, codec=codec)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
