"""What a LeRobot dataset says about itself: `meta/` of the versions 2.0, 2.1 and 3.0, read without LeRobot.

v2.x keeps one data file per episode and its tables as JSON lines; v3.0 keeps many episodes per file and its tables as
parquet. Both become the same `Meta`, so that nothing above this module knows the version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa

from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.parquet import column_names, read_table

SUPPORTED_VERSIONS = ("v2.0", "v2.1", "v3.0")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column.

    Attributes:
        name: its name.
        dtype: LeRobot's: a numpy name, `string`, `language`, `image` (bytes in parquet) or `video` (frames in mp4).
        shape: of one row's value.
        names: of its dimensions or elements, as the dataset has them.
        info: what the writer says about a camera (codec, depth map or not).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: Any = None
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def visual(self) -> bool:
        """It holds pictures."""
        return self.dtype in ("image", "video")

    @property
    def depth_map(self) -> bool:
        """Its pictures are distances in one channel, not colours."""
        flagged = any(self.info.get(key, False) for key in ("is_depth_map", "video.is_depth_map"))
        return flagged or (self.visual and len(self.shape) > 1 and 1 in (self.shape[0], self.shape[-1]))


@dataclass(frozen=True, kw_only=True)
class EpisodeVideo:
    """Where an episode's frames of one camera lie: a file, and the second in it at which the episode begins."""

    path: Path
    from_s: float


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recorded episode.

    Attributes:
        index: its number in the dataset.
        start: dataset row of its first frame; rows `start .. start + length - 1` are its frames.
        length: number of frames.
        tasks: instructions it was recorded under (usually one).
        data_path: parquet file with its rows.
        file_row: row of its first frame within that file.
        videos: video feature -> where its frames lie.
    """

    index: int
    start: int
    length: int
    tasks: tuple[str, ...]
    data_path: Path
    file_row: int
    videos: Mapping[str, EpisodeVideo]

    @property
    def stop(self) -> int:
        """Dataset row after its last frame."""
        return self.start + self.length


@dataclass(frozen=True, kw_only=True)
class Meta:
    """A dataset's metadata, whatever its version."""

    root: Path
    version: str
    fps: float
    robot_type: str | None
    features: Mapping[str, Feature]
    tasks: Mapping[int, str]
    episodes: tuple[Episode, ...]
    info: Mapping[str, Any]

    @property
    def total_frames(self) -> int:
        """Rows of all episodes together."""
        return self.episodes[-1].stop if self.episodes else 0


def load_meta(root: Path) -> Meta:
    """Reads `root/meta`.

    Raises:
        DatasetError: nothing there, unknown version, damaged or contradictory tables.
    """
    info = _read_info(root)
    version = info["codebase_version"]
    try:
        tasks, episodes = (_tables_v3 if version == "v3.0" else _tables_v2)(root, info)
    except KeyError as error:
        raise DatasetError(f"{root / 'meta'}: the {version} tables lack the field {error}.") from error
    _check_totals(root, info, episodes)
    features = {name: _feature(name, spec) for name, spec in info["features"].items()}
    return Meta(
        root=root,
        version=version,
        fps=float(info["fps"]),
        robot_type=info.get("robot_type"),
        features=features,
        tasks=tasks,
        episodes=tuple(episodes),
        info=info,
    )


def _feature(name: str, spec: Mapping[str, Any]) -> Feature:
    return Feature(
        name=name,
        dtype=spec["dtype"],
        shape=tuple(spec.get("shape") or ()),
        names=spec.get("names"),
        info=spec.get("info") or spec.get("video_info") or {},  # `video_info` until v2.0
    )


def _read_info(root: Path) -> dict[str, Any]:
    path = root / "meta" / "info.json"
    if not path.is_file():
        found = (
            "the folder does not exist" if not root.is_dir() else f"it holds {sorted(p.name for p in root.iterdir())}"
        )
        raise DatasetNotFoundError(
            f"No LeRobot dataset at {root}: looked for meta/info.json, but {found}. "
            "Pass the folder that contains `meta`, `data` and, with videos, `videos`."
        )
    try:
        info = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(info, dict):
        raise DatasetError(f"{path} must hold a JSON object; got {info!r:.80}.")
    version = info.get("codebase_version")
    if version not in SUPPORTED_VERSIONS:
        raise DatasetError(
            f"{path}: codebase_version is {version!r}; this reader supports {', '.join(SUPPORTED_VERSIONS)}. "
            "Convert older datasets with LeRobot's own scripts."
        )
    missing = [key for key in ("fps", "features", "data_path", "total_episodes", "total_frames") if key not in info]
    if missing:
        raise DatasetError(f"{path} lacks the fields {missing}.")
    _check_info(path, info)
    return info


def _check_info(path: Path, info: Mapping[str, Any]) -> None:
    """Raises DatasetError that names the first field which is not what it must be."""
    fps = info["fps"]
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < math.inf:
        raise DatasetError(f"{path}: `fps` must be a number above 0; got {fps!r}.")
    for key in ("total_episodes", "total_frames"):
        if type(info[key]) is not int or info[key] < 0:
            raise DatasetError(f"{path}: `{key}` must be a whole number; got {info[key]!r}.")
    if not isinstance(info["features"], dict):
        raise DatasetError(f"{path}: `features` must be an object, column -> type; got {info['features']!r:.80}.")
    for name, spec in info["features"].items():
        if not isinstance(spec, dict) or not isinstance(spec.get("dtype"), str):
            raise DatasetError(f"{path}: `features.{name}` must be an object with a `dtype`; got {spec!r:.80}.")
    videos = any(spec["dtype"] == "video" for spec in info["features"].values())
    shared = info["codebase_version"] == "v3.0"
    names = ("chunk_index", "file_index") if shared else ("episode_chunk", "episode_index")
    place: dict[str, Any] = {name: 0 for name in names}  # noqa: C420
    paths = {"data_path": place}
    if videos:
        paths["video_path"] = {**place, "video_key": "a"}
    for key, values in paths.items():
        try:
            str.format(info.get(key), **values)  # pyright: ignore[reportArgumentType]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise DatasetError(
                f"{path}: `{key}` must be a path with the placeholders {sorted(values)}; got {info.get(key)!r}."
            ) from error


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; the dataset is incomplete.")
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise DatasetError(f"{path}, line {number}, is not valid JSON: {error}") from error
    return rows


def _tables_v2(root: Path, info: Mapping[str, Any]) -> tuple[dict[int, str], list[Episode]]:
    tasks = {row["task_index"]: row["task"] for row in _read_jsonl(root / "meta" / "tasks.jsonl")}
    video_keys = [name for name, spec in info["features"].items() if spec["dtype"] == "video"]
    episodes, start = [], 0
    rows = sorted(_read_jsonl(root / "meta" / "episodes.jsonl"), key=lambda row: row["episode_index"])
    for row in rows:
        index = row["episode_index"]
        place = {"episode_chunk": index // info.get("chunks_size", 1000), "episode_index": index}
        episodes.append(
            Episode(
                index=index,
                start=start,
                length=row["length"],
                tasks=tuple(row.get("tasks") or ()),
                data_path=root / info["data_path"].format(**place),
                file_row=0,
                videos={
                    key: EpisodeVideo(path=root / info["video_path"].format(video_key=key, **place), from_s=0.0)
                    for key in video_keys
                },
            )
        )
        start += row["length"]
    return tasks, episodes


def _tables_v3(root: Path, info: Mapping[str, Any]) -> tuple[dict[int, str], list[Episode]]:
    table = read_table(root / "meta" / "tasks.parquet")
    # The task string is the pandas index; its column's name depends on the pandas version that wrote it.
    texts = next((field.name for field in table.schema if _is_text(field.type)), None)
    if texts is None or "task_index" not in table.column_names:
        raise DatasetError(
            f"{root / 'meta' / 'tasks.parquet'} needs `task_index` and a text column; it has {table.column_names}."
        )
    tasks = dict(zip(table["task_index"].to_pylist(), table[texts].to_pylist(), strict=True))

    paths = sorted((root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
    if not paths:
        raise DatasetError(f"{root / 'meta' / 'episodes'} holds no chunk-*/file-*.parquet; the dataset is incomplete.")
    rows: list[dict[str, Any]] = []
    for path in paths:
        # The statistics are most of the file and nobody needs them to find a frame.
        rows += read_table(path, [name for name in column_names(path) if not name.startswith("stats/")]).to_pylist()
    rows.sort(key=lambda row: row["episode_index"])
    return tasks, _episodes_v3(root, info, rows)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _episodes_v3(root: Path, info: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[Episode]:
    video_keys = [name for name, spec in info["features"].items() if spec["dtype"] == "video"]
    episodes, start, rows_in_file = [], 0, {}
    for row in rows:
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        path = root / info["data_path"].format(**place)
        videos = {
            key: EpisodeVideo(
                path=root
                / info["video_path"].format(
                    video_key=key,
                    chunk_index=row[f"videos/{key}/chunk_index"],
                    file_index=row[f"videos/{key}/file_index"],
                ),
                from_s=row[f"videos/{key}/from_timestamp"],
            )
            for key in video_keys
        }
        length = row["length"]
        if row["dataset_to_index"] - row["dataset_from_index"] != length:
            raise DatasetError(
                f"{root / 'meta' / 'episodes'}: episode {row['episode_index']} has length {length} but covers the rows "
                f"{row['dataset_from_index']}..{row['dataset_to_index']}."
            )
        file_row = rows_in_file.get(path, 0)
        rows_in_file[path] = file_row + length
        episodes.append(
            Episode(
                index=row["episode_index"],
                start=start,
                length=length,
                tasks=tuple(row.get("tasks") or ()),
                data_path=path,
                file_row=file_row,
                videos=videos,
            )
        )
        start += length
    return episodes


def _check_totals(root: Path, info: Mapping[str, Any], episodes: list[Episode]) -> None:
    numbers = [episode.index for episode in episodes]
    if numbers != list(range(len(episodes))):
        raise DatasetError(f"{root / 'meta'}: episodes must be numbered 0..n-1; got {numbers[:10]}...")
    frames = sum(episode.length for episode in episodes)
    if len(episodes) != info["total_episodes"] or frames != info["total_frames"]:
        raise DatasetError(
            f"{root}: info.json announces {info['total_episodes']} episodes and {info['total_frames']} frames, but the "
            f"episode table lists {len(episodes)} and {frames}; the copy is incomplete or was edited."
        )
