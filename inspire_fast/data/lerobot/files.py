"""File layouts of LeRobot datasets that are written: v3.0 shares files between episodes, v2.1 has one per episode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any, ClassVar, Literal

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


@dataclass
class SharedFiles:
    """The layout v3.0: many episodes per parquet file and per mp4, tables in parquet.

    `data_path` and `video_path` are the templates of `info.json`, relative to the dataset.
    """

    data_path: ClassVar = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    video_path: ClassVar = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

    root: Path
    schema: pa.Schema
    features: Mapping[str, Feature]
    fps: float
    codec: Codec
    _data: pq.ParquetWriter | None = None
    _data_file: int = -1
    _encoders: dict[str, VideoEncoder] = field(default_factory=dict)
    _video_file: dict[str, int] = field(default_factory=dict)

    def add_data(self, tables: Sequence[pa.Table], *, repeats: bool) -> dict[str, int]:
        """Appends the next episode's rows, each table a row group; returns their place for the episode table.

        With `repeats`, images that several frames share are stored once; a file's first episode decides for all of it.
        """
        if self._data is None:
            self._data_file += 1
            self._data = parquet_writer(self._file(self._data_file), self.schema, repeats=repeats)
        write_groups(self._data, tables)
        if self._file(self._data_file).stat().st_size > DATA_FILE_MB << 20:
            self._data.close()
            self._data = None
        return {f"data/{key}": value for key, value in place(self._data_file).items()}

    def add_video(self, feature: Feature, images: Sequence[np.ndarray]) -> dict[str, float]:
        """Appends the next episode's frames of one camera, before its rows; returns their place."""
        name = feature.name
        if name not in self._encoders:
            self._video_file[name] = self._video_file.get(name, -1) + 1
            path = self.root / self.video_path.format(video_key=name, **place(self._video_file[name]))
            self._encoders[name] = encoder(path, feature, fps=self.fps, codec=self.codec)
        video = self._encoders[name]
        row: dict[str, float] = {f"videos/{name}/{key}": v for key, v in place(self._video_file[name]).items()}
        row[f"videos/{name}/from_timestamp"] = video.frames / self.fps
        for image in images:
            video.add(image)
        row[f"videos/{name}/to_timestamp"] = video.frames / self.fps
        if video.nbytes > VIDEO_FILE_MB << 20:
            self._encoders.pop(name).close()
        return row

    def data_files(self) -> list[Path]:
        """All data files so far."""
        return [self._file(number) for number in range(self._data_file + 1)]

    def close_files(self) -> None:
        """Closes the current parquet file and mp4s."""
        if self._data is not None:
            self._data.close()
            self._data = None
        while self._encoders:
            self._encoders.popitem()[1].close()

    def write_tables(self, rows: Sequence[Mapping[str, Any]], stats: Mapping[str, Any], tasks: Sequence[str]) -> None:
        """Writes `meta/` without `info.json`: episodes, instructions, and the statistics of both levels."""
        path = self.root / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
        path.parent.mkdir(parents=True)
        here = {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        pq.write_table(pa.Table.from_pylist([{**r, **here} for r in rows], schema=episodes_schema(self.features)), path)
        pq.write_table(tasks_table(tasks), self.root / "meta" / "tasks.parquet")
        write_json(self.root / "meta" / "stats.json", stats, indent=4)

    def info(self, episodes: int) -> dict[str, Any]:  # noqa: ARG002
        """Fields of `info.json` that only this version has: the sizes above which a new file begins."""
        return {"data_files_size_in_mb": DATA_FILE_MB, "video_files_size_in_mb": VIDEO_FILE_MB}

    def _file(self, number: int) -> Path:
        return self.root / self.data_path.format(**place(number))


@dataclass
class EpisodeFiles:
    """The layout v2.1: a parquet file and, per camera, an mp4 for each episode; tables as JSON lines."""

    data_path: ClassVar = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    video_path: ClassVar = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    # v2.1 has no quantiles.
    _STATS: ClassVar = ("min", "max", "mean", "std", "count")

    root: Path
    schema: pa.Schema
    features: Mapping[str, Feature]
    fps: float
    codec: Codec
    _files: list[Path] = field(default_factory=list)

    def add_data(self, tables: Sequence[pa.Table], *, repeats: bool) -> dict[str, int]:
        """Writes the episode's parquet file."""
        path = self._path(self.data_path, len(self._files))
        self._files.append(path)
        with parquet_writer(path, self.schema, repeats=repeats) as file:
            write_groups(file, tables)
        return {}

    def add_video(self, feature: Feature, images: Sequence[np.ndarray]) -> dict[str, float]:
        """Writes the episode's mp4 of one camera."""
        path = self._path(self.video_path, len(self._files), video_key=feature.name)
        video = encoder(path, feature, fps=self.fps, codec=self.codec)
        try:
            for image in images:
                video.add(image)
        finally:
            video.close()
        return {}

    def data_files(self) -> list[Path]:
        """One file per episode."""
        return self._files

    def close_files(self) -> None:
        """Does nothing: no file stays open between episodes."""

    def write_tables(self, rows: Sequence[Mapping[str, Any]], stats: Mapping[str, Any], tasks: Sequence[str]) -> None:
        """Writes JSON lines. v2.1 stores no statistics of the whole dataset: LeRobot aggregates them."""
        meta = self.root / "meta"
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
        """Fields of `info.json` that only this version has: the numbers of videos and of folders."""
        cameras = sum(feature.dtype == "video" for feature in self.features.values())
        return {"total_videos": episodes * cameras, "total_chunks": -(-episodes // CHUNK_FILES)}

    def _path(self, template: str, episode: int, **names: str) -> Path:
        return self.root / template.format(episode_chunk=episode // CHUNK_FILES, episode_index=episode, **names)


Layout = SharedFiles | EpisodeFiles
LAYOUTS: dict[Version, type[SharedFiles] | type[EpisodeFiles]] = {"v3.0": SharedFiles, "v2.1": EpisodeFiles}


def place(number: int) -> dict[str, int]:
    """Folder and number of the n-th file: `chunk-000/file-000`, ..., `chunk-000/file-999`, `chunk-001/file-000`."""
    return {"chunk_index": number // CHUNK_FILES, "file_index": number % CHUNK_FILES}


def parquet_writer(path: Path, schema: pa.Schema, *, repeats: bool) -> pq.ParquetWriter:
    """An open data file. Images get a dictionary only if they repeat: reading through one takes twice as long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dictionaries = [leaf for leaf in _leaf_paths(schema) if repeats or not leaf.endswith(".bytes")]
    # Above the default limit of 1 MB, parquet would drop the dictionary and store repeated images again and again.
    return pq.ParquetWriter(path, schema, dictionary_pagesize_limit=1 << 30, use_dictionary=dictionaries)  # type: ignore[arg-type]


def _leaf_paths(schema: pa.Schema) -> list[str]:
    """Parquet's names of the columns, e.g. `image.bytes`, `state.list.element`."""
    paths = []
    for column in schema:
        if pa.types.is_struct(column.type):
            paths += [f"{column.name}.{inner.name}" for inner in column.type]
        elif pa.types.is_nested(column.type):
            paths.append(f"{column.name}.list.element")
        else:
            paths.append(column.name)
    return paths


def write_groups(file: pq.ParquetWriter, tables: Sequence[pa.Table]) -> None:
    """Writes each table as one row group."""
    for table in tables:
        file.write_table(table, row_group_size=len(table))


def encoder(path: Path, feature: Feature, *, fps: float, codec: Codec) -> VideoEncoder:
    """An open video file."""
    height, width, _ = feature.shape
    return VideoEncoder(path, fps=fps, height=height, width=width, codec=codec)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
