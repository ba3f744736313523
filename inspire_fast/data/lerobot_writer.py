"""Writes LeRobot v3.0 datasets that LeRobot itself opens, episode by episode, without PyTorch or pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inspire_fast.data.episode_columns import (
    checked_values,
    deduplicate,
    episode_length,
    image_column,
    parse_features,
    to_arrow,
)
from inspire_fast.data.lerobot_meta import Feature
from inspire_fast.data.lerobot_schema import INDEX_FEATURES, data_schema, episodes_schema, is_scalar, tasks_table
from inspire_fast.data.lerobot_stats import PixelHistogram, numeric_stats
from inspire_fast.data.parquet import read_table
from inspire_fast.data.staging import StagedFolder
from inspire_fast.data.video import Codec, VideoEncoder

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
CHUNK_FILES = 1000
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200


class DatasetWriter:
    """Collects episodes; the dataset appears at `root` when the writer is closed, complete, or never.

    Pictures that repeat on successive frames (one rendered picture per action chunk, say) are stored once: equal PNG
    bytes share a dictionary entry in parquet, and an episode's are encoded once.

    Example::

        features = {
            "image": {"dtype": "image", "shape": (128, 128, 3)},
            "state": {"dtype": "float32", "shape": (8,)},
        }
        with DatasetWriter(root, fps=20, robot_type="panda", features=features) as writer:
            writer.add_episode({"image": images, "state": states}, task="pick up the soup")

    Args:
        root: the folder to become the dataset.
        fps: frames per second.
        robot_type: free text kept in `info.json`.
        features: column -> `{"dtype", "shape", "names"}` as in LeRobot; cameras have the dtype `image`. The index
            columns (`timestamp`, `frame_index`, `episode_index`, `index`, `task_index`) are added.
        image_storage: `image` keeps PNGs (exact) in parquet, `video` encodes mp4 (smaller, lossy).
        video_codec: `av1` (LeRobot's) or `h264`.
        overwrite: replace a dataset that is there.

    Raises:
        FileExistsError: `root` is not empty and `overwrite` is off, or another process is writing it.
        ValueError: a feature that cannot be stored.
    """

    def __init__(
        self,
        root: Path,
        *,
        fps: int,
        robot_type: str | None,
        features: Mapping[str, Mapping[str, Any]],
        image_storage: Literal["image", "video"] = "image",
        video_codec: Codec = "av1",
        overwrite: bool = False,
    ) -> None:
        self._fps, self._robot_type = fps, robot_type
        self._codec: Codec = video_codec
        self._given = parse_features(features, image_storage)
        self._features = {**self._given, **INDEX_FEATURES}
        self._schema = data_schema(self._features)
        self._staged = StagedFolder(Path(root), overwrite=overwrite)
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []  # of the episode table
        self._frames = 0
        self._data: pq.ParquetWriter | None = None
        self._data_file = -1
        self._encoders: dict[str, VideoEncoder] = {}
        self._video_file: dict[str, int] = {}
        self._pixels = {name: PixelHistogram() for name, feature in self._given.items() if feature.visual}
        self._open = True

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    @property
    def episodes(self) -> int:
        """Episodes added so far."""
        return len(self._rows)

    def add_episode(self, columns: Mapping[str, np.ndarray | Sequence[Any]], task: str) -> None:
        """Appends one episode.

        Args:
            columns: every feature -> its values, one per frame; pictures uint8 `[n, h, w, 3]` or a sequence of them.
            task: the instruction.

        Raises:
            ValueError: missing or extra columns, unequal lengths, wrong shapes, NaN or infinity, no frames, no task.
        """
        if not self._open:
            raise ValueError("This writer is closed.")
        if not task:
            raise ValueError(f"Episode {self.episodes} has no task; every episode needs its instruction.")
        length = episode_length(columns, self._given, self.episodes)
        # Everything that may be refused is looked at before anything is written: a refused episode leaves no trace.
        pictures = {name: [np.asarray(picture) for picture in columns[name]] for name in self._pixels}
        distinct = {name: deduplicate(pictures[name], self._given[name], self.episodes) for name in self._pixels}
        index = np.arange(length)
        plain = {name: feature for name, feature in self._given.items() if not feature.visual}
        values: dict[str, Any] = {
            **{name: checked_values(columns[name], feature, self.episodes) for name, feature in plain.items()},
            "timestamp": (index / self._fps).astype(np.float32),
            "frame_index": index,
            "episode_index": np.full(length, self.episodes),
            "index": index + self._frames,
            "task_index": np.full(length, self._tasks.setdefault(task, len(self._tasks))),
        }
        stats = {name: numeric_stats(v) for name, v in values.items() if self._features[name].dtype != "string"}
        row = {"episode_index": self.episodes, "tasks": [task], "length": length}
        row |= {"dataset_from_index": self._frames, "dataset_to_index": self._frames + length}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        for name, (codes, unique) in distinct.items():
            stats[name] = self._count(name, codes, unique)
            if self._given[name].dtype == "video":
                row |= self._add_video(name, pictures[name])
            else:
                values[name] = image_column(codes, unique)
        row |= self._add_data(values)
        row |= {f"stats/{name}/{stat}": value for name, all_ in stats.items() for stat, value in all_.items()}
        self._rows.append(row)
        self._frames += length

    def close(self) -> None:
        """Writes the metadata and gives the dataset its name. Calling it again does nothing.

        Raises:
            ValueError: no episode was added; nothing is left behind then.
        """
        if not self._open:
            return
        if not self._rows:
            self.discard()
            raise ValueError(f"No episode was added to {self._staged.final}; nothing was written.")
        self._close_files()
        path = self._staged.path / EPISODES_PATH.format(chunk_index=0, file_index=0)
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._rows, schema=episodes_schema(self._features)), path)
        pq.write_table(tasks_table(list(self._tasks)), self._staged.path / "meta" / "tasks.parquet")
        self._write_json("stats.json", self._dataset_stats())
        self._write_json("info.json", self._info())
        self._staged.commit()
        self._open = False

    def discard(self) -> None:
        """Drops everything written so far."""
        if self._open:
            self._close_files()
            self._staged.discard()
            self._open = False

    def _count(self, name: str, codes: np.ndarray, unique: list[np.ndarray]) -> dict[str, list[Any]]:
        histogram = PixelHistogram()
        for picture, times in zip(unique, np.bincount(codes), strict=True):
            histogram.add(picture, int(times))
        self._pixels[name].merge(histogram)
        return histogram.stats()

    def _add_data(self, values: Mapping[str, Any]) -> dict[str, int]:
        if self._data is None:
            self._data_file += 1
            self._data = self._new_data_file()
        arrays = [to_arrow(values[field.name], field.type) for field in self._schema]
        self._data.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=len(arrays[0]))
        if self._data_path(self._data_file).stat().st_size > DATA_FILE_MB << 20:
            self._data.close()
            self._data = None
        return {f"data/{key}": value for key, value in _place(self._data_file).items()}

    def _new_data_file(self) -> pq.ParquetWriter:
        path = self._data_path(self._data_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The default limit of 1 MB would give up on the dictionary, and store repeated pictures again and again.
        return pq.ParquetWriter(path, self._schema, dictionary_pagesize_limit=1 << 30)

    def _data_path(self, number: int) -> Path:
        return self._staged.path / DATA_PATH.format(**_place(number))

    def _add_video(self, name: str, pictures: list[np.ndarray]) -> dict[str, float]:
        if name not in self._encoders:
            self._video_file[name] = self._video_file.get(name, -1) + 1
            path = self._staged.path / VIDEO_PATH.format(video_key=name, **_place(self._video_file[name]))
            height, width, _ = self._given[name].shape
            self._encoders[name] = VideoEncoder(path, fps=self._fps, height=height, width=width, codec=self._codec)
        encoder = self._encoders[name]
        row: dict[str, float] = {f"videos/{name}/{key}": v for key, v in _place(self._video_file[name]).items()}
        row[f"videos/{name}/from_timestamp"] = encoder.frames / self._fps
        for picture in pictures:
            encoder.add(picture)
        row[f"videos/{name}/to_timestamp"] = encoder.frames / self._fps
        if encoder.nbytes > VIDEO_FILE_MB << 20:
            self._encoders.pop(name).close()
        return row

    def _close_files(self) -> None:
        if self._data is not None:
            self._data.close()
            self._data = None
        while self._encoders:
            self._encoders.popitem()[1].close()

    def _dataset_stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = {name: histogram.stats() for name, histogram in self._pixels.items()}
        paths = [self._data_path(number) for number in range(self._data_file + 1)]
        for name, feature in self._features.items():
            if not feature.visual and feature.dtype != "string":
                # Column by column, so that memory holds one at a time.
                parts = [read_table(path, [name])[name] for path in paths]
                flat = [part.combine_chunks().flatten() if not is_scalar(feature) else part for part in parts]
                values = np.concatenate([part.to_numpy() for part in flat])
                stats[name] = numeric_stats(values.reshape(self._frames, -1))
        return stats

    def _info(self) -> dict[str, Any]:
        videos = any(feature.dtype == "video" for feature in self._features.values())
        return {
            "codebase_version": "v3.0",
            "robot_type": self._robot_type,
            "total_episodes": self.episodes,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if videos else None,
            "features": {name: self._feature_info(feature) for name, feature in self._features.items()},
        }

    def _feature_info(self, feature: Feature) -> dict[str, Any]:
        info: dict[str, Any] = {"dtype": feature.dtype, "shape": list(feature.shape), "names": feature.names}
        if feature.dtype == "video":
            info["info"] = {
                "video.height": feature.shape[0],
                "video.width": feature.shape[1],
                "video.codec": self._codec,
                "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False,
                "video.fps": self._fps,
                "video.channels": 3,
                "has_audio": False,
            }
        return info

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        (self._staged.path / "meta" / name).write_text(json.dumps(value, indent=4) + "\n")


def _place(number: int) -> dict[str, int]:
    """Folder and file of the n-th file: `chunk-000/file-000`, ..., `chunk-000/file-999`, `chunk-001/file-000`."""
    return {"chunk_index": number // CHUNK_FILES, "file_index": number % CHUNK_FILES}
