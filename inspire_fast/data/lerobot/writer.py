"""Writer of LeRobot datasets (v3.0, v2.1), episode by episode, without PyTorch or pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from inspire_fast.core.console import command_line
from inspire_fast.core.files import StagedFolder, require_unused, write_json
from inspire_fast.core.registry import unknown_name
from inspire_fast.data.lerobot.columns import (
    checked_values,
    deduplicate,
    episode_length,
    image_column,
    parse_features,
    to_arrow,
)
from inspire_fast.data.lerobot.files import CHUNK_FILES, LAYOUTS, Layout, Version
from inspire_fast.data.lerobot.meta import Feature
from inspire_fast.data.lerobot.parquet import read_table
from inspire_fast.data.lerobot.schema import INDEX_FEATURES, data_schema, is_scalar
from inspire_fast.data.lerobot.stats import PixelHistogram, numeric_stats
from inspire_fast.data.video import Codec

# To read one image, its row group is read: groups of a whole episode made random access ten times slower.
_IMAGES_PER_GROUP = 16
_DATASET = ("meta/info.json",)  # what a dataset holds


class DatasetWriter:
    """Collects episodes; the dataset appears at `root`, complete, when the writer is closed.

    Images that repeat on successive frames (e.g. one rendered image per action chunk) are encoded and stored once:
    equal PNG bytes share a dictionary entry in parquet.

    Example::

        features = {
            "image": {"dtype": "image", "shape": (128, 128, 3)},
            "state": {"dtype": "float32", "shape": (8,)},
        }
        with DatasetWriter(root, fps=20, robot_type="panda", features=features) as writer:
            writer.add_episode({"image": images, "state": states}, task="pick up the soup")

    Args:
        root: the dataset's future folder.
        fps: frames per second, above 0; it need not be whole (29.97).
        robot_type: free text for `info.json`.
        features: column -> `{"dtype", "shape", "names"}` as in LeRobot; cameras have the dtype `image`. The index
            columns (`timestamp`, `frame_index`, `episode_index`, `index`, `task_index`) are added.
        image_storage: `image` keeps PNGs (exact) in parquet, `video` encodes mp4 (smaller, lossy).
        video_codec: `av1` (LeRobot's) or `h264`.
        version: of the format: `v3.0`, or `v2.1` for readers from before September 2025.
        overwrite: replace an existing dataset.
        annotation_types: column of the dtype `language` -> its arrow type; LeRobot keeps lists of records there.

    Raises:
        FileExistsError: `root` is in use and no dataset that may be replaced, or another process writes to it.
        ValueError: a feature that cannot be stored, or an unknown version.
    """

    def __init__(
        self,
        root: Path,
        *,
        fps: float,
        robot_type: str | None,
        features: Mapping[str, Mapping[str, Any]],
        image_storage: Literal["image", "video"] = "image",
        video_codec: Codec = "av1",
        version: Version = "v3.0",
        overwrite: bool = False,
        annotation_types: Mapping[str, pa.DataType] | None = None,
    ) -> None:
        if version not in LAYOUTS:
            raise ValueError(unknown_name("version to write", version, list(LAYOUTS)))
        require_new_dataset(root, overwrite=overwrite)
        if not 0 < fps < math.inf:
            raise ValueError(f"fps must be a number above 0; got {fps!r}.")
        fps = int(fps) if fps == int(fps) else float(fps)
        self._fps, self._robot_type, self._version = fps, robot_type, version
        self._codec: Codec = video_codec
        self._given = parse_features(features, image_storage)
        self._features = {**self._given, **INDEX_FEATURES}
        self._schema = data_schema(self._features, legacy=version == "v2.1", types=annotation_types)
        self._staged = StagedFolder(Path(root), replaces=_DATASET if overwrite else ())
        self._files: Layout = LAYOUTS[version](
            self._staged.path, self._schema, self._features, fps=fps, codec=video_codec
        )
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []  # of the episode table
        self._frames = 0
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

    @property
    def root(self) -> Path:
        """The dataset's future folder."""
        return self._staged.final

    @property
    def nbytes(self) -> int:
        """Bytes on disk so far, without metadata, which `close` writes, and frames that encoders still hold."""
        return sum(path.stat().st_size for path in self._staged.path.rglob("*") if path.is_file())

    def add_episode(self, columns: Mapping[str, np.ndarray | Sequence[Any]], task: str) -> None:
        """Appends one episode.

        Args:
            columns: every feature -> its values, one per frame; images uint8 `[n, h, w, 3]` or a sequence of them.
            task: the instruction.

        Raises:
            ValueError: missing or extra columns, unequal lengths, wrong shapes, NaN or infinity, no frames, no task.
        """
        if not self._open:
            raise ValueError("This writer is closed.")
        if not task.strip():
            raise ValueError(f"Episode {self.episodes} has no task ({task!r}); every episode needs its instruction.")
        length = episode_length(columns, self._given, self.episodes)
        # All checks come before the first write: a refused episode leaves no trace.
        images = {name: [np.asarray(image) for image in columns[name]] for name in self._pixels}
        distinct = {name: deduplicate(images[name], self._given[name], self.episodes) for name in self._pixels}
        values = self._values(columns, length, task)
        stats = {name: numeric_stats(v) for name, v in values.items() if self._features[name].numeric}
        row = {"episode_index": self.episodes, "tasks": [task], "length": length}
        row |= {"dataset_from_index": self._frames, "dataset_to_index": self._frames + length}
        for name, (codes, unique) in distinct.items():
            stats[name] = self._count(name, codes, unique)
            if self._given[name].dtype == "video":
                row |= self._files.add_video(self._given[name], images[name])
            else:
                values[name] = image_column(codes, unique)
        stored = [codes for name, (codes, _) in distinct.items() if self._given[name].dtype == "image"]
        repeats = any(len(unique) < length for _, unique in distinct.values())
        row |= self._files.add_data(self._tables(values, _group_bounds(stored, length)), repeats=repeats)
        row |= {f"stats/{name}/{stat}": value for name, all_ in stats.items() for stat, value in all_.items()}
        self._rows.append(row)
        self._frames += length

    def _values(self, columns: Mapping[str, np.ndarray | Sequence[Any]], length: int, task: str) -> dict[str, Any]:
        """The next episode's columns without images, checked, and the index columns."""
        index = np.arange(length)
        plain = {name: feature for name, feature in self._given.items() if not feature.visual}
        return {
            **{name: checked_values(columns[name], feature, self.episodes) for name, feature in plain.items()},
            "timestamp": (index / self._fps).astype(np.float32),
            "frame_index": index,
            "episode_index": np.full(length, self.episodes),
            "index": index + self._frames,
            "task_index": np.full(length, self._tasks.setdefault(task, len(self._tasks))),
        }

    def close(self) -> None:
        """Writes the metadata and moves the dataset to `root`. Calling it again does nothing.

        Raises:
            ValueError: no episode was added; nothing remains on disk then.
        """
        if not self._open:
            return
        if not self._rows:
            self.discard()
            raise ValueError(f"No episode was added to {self._staged.final}; nothing was written.")
        self._files.close_files()
        self._files.write_tables(self._rows, self._dataset_stats(), list(self._tasks))
        write_json(self._staged.path / "meta" / "info.json", self._info(), indent=4)
        self._staged.commit()
        self._open = False

    def discard(self) -> None:
        """Drops everything written so far."""
        if self._open:
            self._open = False
            try:
                self._files.close_files()
            finally:  # also on a full disk, where the files' footers do not fit
                self._staged.discard()

    def _count(self, name: str, codes: np.ndarray, unique: list[np.ndarray]) -> dict[str, list[Any]]:
        histogram = PixelHistogram()
        for image, times in zip(unique, np.bincount(codes), strict=True):
            histogram.add(image, int(times))
        self._pixels[name].merge(histogram)
        return histogram.stats()

    def _tables(self, values: Mapping[str, Any], bounds: Sequence[int]) -> list[pa.Table]:
        arrays = [to_arrow(values[field.name], field.type) for field in self._schema]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        return [table.slice(start, stop - start) for start, stop in pairwise(bounds)]

    def _dataset_stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = {name: histogram.stats() for name, histogram in self._pixels.items()}
        for name, feature in self._features.items():
            if feature.numeric:
                # Column by column: one at a time in memory.
                parts = [read_table(path, [name])[name] for path in self._files.data_files()]
                flat = [part.combine_chunks().flatten() if not is_scalar(feature) else part for part in parts]
                values = np.concatenate([part.to_numpy() for part in flat])
                stats[name] = numeric_stats(values.reshape(self._frames, math.prod(feature.shape)))
        return stats

    def _info(self) -> dict[str, Any]:
        videos = any(feature.dtype == "video" for feature in self._features.values())
        return {
            "codebase_version": self._version,
            "robot_type": self._robot_type,
            "total_episodes": self.episodes,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK_FILES,
            **self._files.info(self.episodes),
            "fps": self._fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": self._files.data_path,
            "video_path": self._files.video_path if videos else None,
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


def require_new_dataset(root: Path, *, overwrite: bool) -> None:
    """Raises FileExistsError if `root` is in use and must not be replaced."""
    replace = f"have it replaced (`overwrite`; {command_line('convert_dataset')} takes --storage.overwrite)"
    require_unused(
        root, replaces=_DATASET if overwrite else (), hint=f"choose another folder, remove this one, or {replace}"
    )


def _group_bounds(codes: Sequence[np.ndarray], length: int) -> list[int]:
    """First rows of an episode's row groups, and its end. Frames that share an image stay in one group."""
    if not codes:
        return [0, length]
    changes = np.any([np.diff(camera) != 0 for camera in codes], axis=0)
    starts = np.flatnonzero(changes)[_IMAGES_PER_GROUP - 1 :: _IMAGES_PER_GROUP] + 1
    return [0, *starts.tolist(), length]
