"""Metadata of LeRobot datasets (`meta/`) of the versions 2.0, 2.1 and 3.0, read without LeRobot.

v2.x has one data file per episode and tables as JSON lines; v3.0 has many episodes per file and tables as parquet. Both
become the same `Meta`: no other module depends on the version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
import functools
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa

from inspire_fast.core.files import numbered_lines, read_text
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.info import read_info
from inspire_fast.data.lerobot.parquet import read_schema, read_table


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column.

    Attributes:
        name: key in `info.json`.
        dtype: LeRobot's: a numpy name, `string`, `language`, `image` (bytes in parquet) or `video` (frames in mp4).
        shape: of one row's value.
        names: of its dimensions or elements, as stored.
        info: the writer's notes on a camera (codec, depth map or not).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: Any = None
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def visual(self) -> bool:
        """Whether it holds images."""
        return self.dtype in ("image", "video")

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers: neither images nor text nor annotations."""
        return not self.visual and self.dtype not in ("string", "language")

    @property
    def depth_map(self) -> bool:
        """Whether its images are distances in one channel instead of colours."""
        flagged = any(self.info.get(key, False) for key in ("is_depth_map", "video.is_depth_map"))
        return flagged or (self.visual and len(self.shape) > 1 and 1 in (self.shape[0], self.shape[-1]))


@dataclass(frozen=True, kw_only=True)
class EpisodeVideo:
    """An episode's frames of one camera: a file and the first and last second of them in it.

    `to_s` is None if the dataset does not say it: then the rest of the file belongs to the episode.
    """

    path: Path
    from_s: float
    to_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recorded episode.

    Attributes:
        index: its number in the dataset.
        start: dataset row of its first frame; rows `start .. start + length - 1` are its frames.
        length: number of frames.
        tasks: its instructions (usually one).
        data_path: parquet file with its rows.
        file_row: row of its first frame within that file.
        videos: video feature -> file and seconds of its frames.
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
    """A dataset's metadata, independent of its version."""

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
        DatasetError: no dataset, an unknown version, damaged or contradictory tables.
    """
    info = read_info(root)
    version = info["codebase_version"]
    try:
        tasks, episodes = (_tables_v3 if version == "v3.0" else _tables_v2)(root, info)
    except KeyError as error:
        raise DatasetError(f"{root / 'meta'}: the {version} tables lack the field {error}.") from error
    _check_totals(root, info, episodes)
    features = {name: _feature(name, spec) for name, spec in info["features"].items()}
    robot_type = info.get("robot_type")
    return Meta(
        root=root,
        version=version,
        fps=float(info["fps"]),
        robot_type=None if robot_type is None else str(robot_type),
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


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; the dataset is incomplete.")
    rows = []
    try:
        lines = numbered_lines(read_text(path))
    except ValueError as error:
        raise DatasetError(str(error)) from error
    for number, line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise DatasetError(f"{path}, line {number}, is not valid JSON: {error}") from error
        if not isinstance(rows[-1], dict):
            raise DatasetError(f"{path}, line {number}, must be a JSON object; got {rows[-1]!r:.80}.")
    return rows


def _whole(row: Mapping[str, Any], key: str, where: Path, *, least: int = 0) -> int:
    """A field that must be a whole number; numpy and pandas write some as 3.0."""
    value = row[key]
    whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not whole or value != int(value) or value < least:
        number = row.get("episode_index", row.get("task_index"))
        raise DatasetError(f"{where}, row {number}: `{key}` must be a whole number from {least} on; got {value!r:.80}.")
    return int(value)


def _seconds(row: Mapping[str, Any], key: str, where: Path) -> float:
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DatasetError(f"{where}, episode {row['episode_index']}: `{key}` must be seconds; got {value!r:.80}.")
    return float(value)


def _tasks_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The instructions that an episode lists: any number, or one as plain text."""
    tasks = row.get("tasks") or ()
    return (tasks,) if isinstance(tasks, str) else tuple(map(str, tasks))


def _instructions(numbers: list[Any], texts: list[Any], where: Path) -> dict[int, str]:
    """Task index -> instruction. A blank one becomes empty, and is refused when a frame uses it."""
    tasks: dict[int, str] = {}
    for number, text in zip(numbers, texts, strict=True):
        index = _whole({"task_index": number}, "task_index", where)
        kept = "" if text is None or (isinstance(text, str) and text.isspace()) else text
        if not isinstance(kept, str) or tasks.setdefault(index, kept) != kept:
            raise DatasetError(
                f"{where}: task {index} must be one text; got {tasks.get(index)!r:.80} and {text!r:.80}."
            )
    return tasks


def some_tasks(tasks: Mapping[int, str]) -> dict[int, str]:
    """The first twenty instructions, for messages: each of many bad episodes may need one."""
    return dict(itertools.islice(tasks.items(), 20))


def _tables_v2(root: Path, info: Mapping[str, Any]) -> tuple[dict[int, str], list[Episode]]:
    path = root / "meta" / "tasks.jsonl"
    listed = _read_jsonl(path)
    tasks = _instructions([row["task_index"] for row in listed], [row["task"] for row in listed], path)
    path = root / "meta" / "episodes.jsonl"
    video_keys = [name for name, spec in info["features"].items() if spec["dtype"] == "video"]
    in_chunks = any("{episode_chunk" in (info.get(key) or "") for key in ("data_path", "video_path"))
    episodes, start = [], 0
    rows = sorted(_read_jsonl(path), key=lambda row: _whole(row, "episode_index", path))
    for row in rows:
        index, length = _whole(row, "episode_index", path), _whole(row, "length", path, least=1)
        place = {"episode_chunk": index // info["chunks_size"] if in_chunks else 0, "episode_index": index}
        episodes.append(
            Episode(
                index=index,
                start=start,
                length=length,
                tasks=_tasks_of(row),
                data_path=root / info["data_path"].format(**place),
                file_row=0,
                videos={
                    key: EpisodeVideo(path=root / info["video_path"].format(video_key=key, **place), from_s=0.0)
                    for key in video_keys
                },
            )
        )
        start += length
    return tasks, episodes


def _tables_v3(root: Path, info: Mapping[str, Any]) -> tuple[dict[int, str], list[Episode]]:
    path = root / "meta" / "tasks.parquet"
    table = read_table(path)
    # The task's text is the pandas index; its column's name depends on the pandas version that wrote it.
    named = "task" if "task" in table.column_names else None
    texts = named or next((field.name for field in table.schema if _is_text(field.type)), None)
    if texts is None or "task_index" not in table.column_names:
        raise DatasetError(f"{path} needs `task_index` and a text column; it has {table.column_names}.")
    tasks = _instructions(table["task_index"].to_pylist(), table[texts].to_pylist(), path)

    paths = sorted((root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
    if not paths:
        raise DatasetError(f"{root / 'meta' / 'episodes'} holds no chunk-*/file-*.parquet; the dataset is incomplete.")
    rows: list[dict[str, Any]] = []
    for path in paths:
        # Statistics are most of the file and not needed to find a frame.
        wanted = [name for name in read_schema(path).names if not name.startswith("stats/")]
        rows += read_table(path, wanted).to_pylist()
    rows.sort(key=lambda row: _whole(row, "episode_index", root / "meta" / "episodes"))
    return tasks, _episodes_v3(root, info, rows)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _episodes_v3(root: Path, info: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[Episode]:
    video_keys = [name for name, spec in info["features"].items() if spec["dtype"] == "video"]
    where = root / "meta" / "episodes"
    file = functools.cache(root.joinpath)  # many episodes share a file
    episodes, start, rows_in_file = [], 0, {}
    for row in rows:
        place = {key: _whole(row, f"data/{key}", where) for key in ("chunk_index", "file_index")}
        path = file(info["data_path"].format(**place))
        length = _whole(row, "length", where, least=1)
        first, stop = (_whole(row, f"dataset_{end}_index", where) for end in ("from", "to"))
        if stop - first != length:
            raise DatasetError(
                f"{where}: episode {row['episode_index']} has length {length} but covers the rows {first}..{stop}."
            )
        file_row = rows_in_file.get(path, 0)
        rows_in_file[path] = file_row + length
        episodes.append(
            Episode(
                index=_whole(row, "episode_index", where),
                start=start,
                length=length,
                tasks=_tasks_of(row),
                data_path=path,
                file_row=file_row,
                videos={key: _video_v3(row, key, info["video_path"], file, where) for key in video_keys},
            )
        )
        start += length
    return episodes


def _video_v3(row: Mapping[str, Any], key: str, path: str, file: Callable[[str], Path], where: Path) -> EpisodeVideo:
    column = f"videos/{key}"
    place = {name: _whole(row, f"{column}/{name}", where) for name in ("chunk_index", "file_index")}
    return EpisodeVideo(
        path=file(path.format(video_key=key, **place)),
        from_s=_seconds(row, f"{column}/from_timestamp", where),
        to_s=None if row.get(f"{column}/to_timestamp") is None else _seconds(row, f"{column}/to_timestamp", where),
    )


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
