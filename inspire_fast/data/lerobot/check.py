"""Checks that find bad episodes before training and report file, episode, frame and defect.

The cheap checks read every number once and open each video; `decode` also decodes every image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Episode
from inspire_fast.data.video import VideoReader

# Timestamps may stray by this part of a frame's time before frames are looked up wrongly (LeRobot allows 1e-4 s).
_TIME_SLACK = 0.25


def find_bad_episodes(dataset: LeRobotDataset, columns: Sequence[str], *, decode: bool = False) -> dict[int, str]:
    """Episode -> the reason why it is unusable; empty if all are sound.

    Args:
        dataset: the dataset; episodes that it skips already are left out.
        columns: those that training reads, cameras included. Other columns are not checked.
        decode: decode every image. Otherwise the bytes of images are not read, and only the lengths of videos.

    Raises:
        DatasetError: the dataset lacks a column.
    """
    bad: dict[int, str] = {}
    numbers = [name for name in columns if not dataset.feature(name).visual]
    cameras = [name for name in columns if dataset.feature(name).visual]
    videos = [name for name in cameras if dataset.feature(name).dtype == "video"]
    names: list[str] = [*dict.fromkeys([*numbers, "task_index", *clock(dataset, cameras)])]
    last_s: dict[int, float] = {}
    for path, episodes in dataset.files().items():
        wanted = [e for e in episodes if e.index not in dataset.skipped]
        if not wanted:
            continue
        try:
            values = dataset.read_file(path, names, episodes, bad=bad)
        except DatasetError as error:
            bad |= {e.index: str(error) for e in wanted if e.index not in bad}
            continue
        for episode in (e for e in wanted if e.index not in bad):
            try:
                check_numbers(dataset, episode, {k: v[_rows(episode)] for k, v in values.items()})
            except DatasetError as error:
                bad[episode.index] = str(error)
            if videos:
                last_s[episode.index] = float(values["timestamp"][_rows(episode)][-1])
    sound = [e for e in dataset.episodes if e.index not in bad and e.index not in dataset.skipped]
    bad |= _check_videos(dataset, sound, videos, last_s)
    if decode:
        bad |= _decode(dataset, [e for e in sound if e.index not in bad], cameras)
    return dict(sorted(bad.items()))


def clock(dataset: LeRobotDataset, columns: Iterable[str]) -> list[str]:
    """`timestamp`, if the dataset has it or a video among `columns` needs it."""
    videos = any(dataset.feature(name).dtype == "video" for name in columns)
    return ["timestamp"] if videos or "timestamp" in dataset.features else []


def check_numbers(dataset: LeRobotDataset, episode: Episode, values: Mapping[str, np.ndarray]) -> None:
    """Checks one episode's columns: finite numbers, an instruction for every frame, regular timestamps.

    Args:
        dataset: with its instructions and frame rate.
        episode: the episode.
        values: column -> `[length, ...]`; `task_index` and `timestamp` are checked if they are among them.

    Raises:
        DatasetError: names file, episode, frame and column.
    """
    for name, column in values.items():
        if np.issubdtype(column.dtype, np.floating):
            finite = np.isfinite(column.reshape(len(column), -1))
            if not finite.all():
                frame, dim = np.argwhere(~finite)[0].tolist()
                place = "" if column.ndim == 1 else f"[{dim}]"
                raise DatasetError(
                    f"{_where(episode, frame)}: {name}{place} is {column.reshape(len(column), -1)[frame, dim]}."
                )
    if "task_index" in values:
        # By distinct numbers, one per episode as a rule: a dataset may have as many instructions as episodes.
        without = [number for number in np.unique(values["task_index"]).tolist() if not dataset.tasks.get(number)]
        if without:
            frame = int(np.argmax(np.isin(values["task_index"], without)))
            raise DatasetError(
                f"{_where(episode, frame)}: no instruction; task_index is {values['task_index'][frame]} and "
                f"{dataset.root / 'meta'} lists {dict(sorted(dataset.tasks.items())[:20])}."
            )
    if "timestamp" in values:
        period_s = 1 / dataset.fps
        off = np.abs(np.diff(values["timestamp"].astype(np.float64)) - period_s) > _TIME_SLACK * period_s
        if off.any():
            frame = int(np.flatnonzero(off)[0])
            times = values["timestamp"][frame : frame + 2]
            raise DatasetError(
                f"{_where(episode, frame)}: the next frame is {times[1] - times[0]:.4f} s later; at the dataset's "
                f"{dataset.fps:g} frames per second it must be {period_s:.4f} s (wrong fps in meta/info.json?)."
            )


def refuse_bad_rows(dataset: LeRobotDataset, values: Mapping[str, np.ndarray]) -> None:
    """`check_numbers` for whole columns from `LeRobotDataset.columns`; skipped episodes are not checked.

    Raises:
        DatasetError: as `check_numbers`, for the first unusable episode.
    """
    for episode in dataset.episodes:
        if episode.index not in dataset.skipped:
            try:
                check_numbers(dataset, episode, {k: v[episode.start : episode.stop] for k, v in values.items()})
            except DatasetError as error:
                hint = "`--data.skip-bad-episodes` leaves such episodes out, and lists them."
                raise DatasetError(f"{error} {hint}") from error


def _check_videos(
    dataset: LeRobotDataset, episodes: Sequence[Episode], names: Sequence[str], last_s: Mapping[int, float]
) -> dict[int, str]:
    """Episodes whose video, or part of a shared one, ends before their last frame, at `last_s`."""
    bad: dict[int, str] = {}
    lengths: dict[Path, float | str] = {}  # seconds, or the file's defect
    for name in names:
        for episode in episodes:
            place = episode.videos[name]
            if place.path not in lengths:
                lengths[place.path] = _length_s(place.path)
            length = lengths[place.path]
            if isinstance(length, str):
                reason = f"{_frame(episode, 0, name)}: {length}"
            else:
                reason = _too_short(dataset.fps, episode, name, last_s[episode.index], length)
            if reason:
                bad.setdefault(episode.index, reason)
    return bad


def _too_short(fps: float, episode: Episode, name: str, last_s: float, length_s: float) -> str:
    """The defect of an episode's part of a video that lasts `length_s`; empty if there is none."""
    place, slack_s = episode.videos[name], 0.5 / fps  # frames are looked up within half of their time
    last = place.from_s + last_s
    ends = [(length_s, length_s - slack_s, "is shorter than its index says: it lasts")]
    if place.to_s is not None:
        ends.append((place.to_s, place.to_s + slack_s, "is the episode's for a shorter time than it has frames: until"))
    for end_s, latest_s, what in ends:
        if last > latest_s:
            beyond = int(np.ceil((last - end_s) * fps + 1e-3))
            where = _frame(episode, max(episode.length - max(beyond, 1), 0), name)
            return f"{where}: {place.path} {what} {end_s:.3f} s, and the last frame is at {last:.3f} s."
    return ""


def _frame(episode: Episode, frame: int, name: str) -> str:
    return f"Episode {episode.index}, frame {frame}, {name!r}"


def _length_s(path: Path) -> float | str:
    try:
        reader = VideoReader(path)
    except DatasetError as error:
        return str(error)
    try:
        return reader.duration_s
    finally:
        reader.close()


def _decode(dataset: LeRobotDataset, episodes: Sequence[Episode], cameras: Sequence[str]) -> dict[int, str]:
    bad = {}
    for episode in episodes:
        try:
            for row in range(episode.start, episode.stop):
                dataset.row(row, cameras)
        except DatasetError as error:
            bad[episode.index] = str(error)
    return bad


def _rows(episode: Episode) -> slice:
    return slice(episode.file_row, episode.file_row + episode.length)


def _where(episode: Episode, frame: int) -> str:
    return f"{episode.data_path}: episode {episode.index}, frame {frame}"
