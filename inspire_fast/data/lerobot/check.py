"""Checks that find bad episodes before training and report file, episode, frame and defect.

The cheap checks read every number once and open each video; `decode` also decodes every image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.frames import require_declared_size
from inspire_fast.data.lerobot.meta import Episode, some_tasks
from inspire_fast.data.lerobot.video_check import find_bad_videos

# Timestamps may stray by this part of a frame's time before frames are looked up wrongly (LeRobot allows 1e-4 s).
_TIME_SLACK = 0.25
# A clock's jitter is within the slack above; the rate over a whole episode is that of the robot, to this part.
_RATE_SLACK = 0.05


def find_bad_episodes(dataset: LeRobotDataset, columns: Sequence[str], *, decode: bool = False) -> dict[int, str]:
    """Episode -> the reason why it is unusable; empty if all are sound.

    Args:
        dataset: the dataset; episodes that it skips already are left out.
        columns: those that training reads, cameras included. Other columns are not checked.
        decode: decode every image. Otherwise the bytes of images are not read, and only the indices of videos.

    Raises:
        DatasetError: the dataset lacks a column.
    """
    bad: dict[int, str] = {}
    numbers = [name for name in columns if not dataset.feature(name).visual]
    cameras = [name for name in columns if dataset.feature(name).visual]
    videos = [name for name in cameras if dataset.feature(name).dtype == "video"]
    names: list[str] = [*dict.fromkeys([*numbers, "task_index", *clock(dataset, cameras)])]
    times_s: dict[int, np.ndarray] = {}
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
                times_s[episode.index] = values["timestamp"][_rows(episode)]
    sound = [e for e in dataset.episodes if e.index not in bad and e.index not in dataset.skipped]
    bad |= find_bad_videos(dataset, sound, videos, times_s)
    if decode:
        bad |= _decode(dataset, [e for e in sound if e.index not in bad], cameras)
    return dict(sorted(bad.items()))


def clock(dataset: LeRobotDataset, columns: Iterable[str]) -> list[str]:
    """`timestamp`, if the dataset has it or a video among `columns` needs it, and `frame_index` if it has it."""
    videos = any(dataset.feature(name).dtype == "video" for name in columns)
    told = ["frame_index"] if "frame_index" in dataset.features else []
    return ["timestamp", *told] if videos or "timestamp" in dataset.features else told


def check_numbers(dataset: LeRobotDataset, episode: Episode, values: Mapping[str, np.ndarray]) -> None:
    """Checks one episode's columns: finite numbers, an instruction for every frame, order, regular timestamps.

    Args:
        dataset: with its instructions and frame rate.
        episode: the episode.
        values: column -> `[length, ...]`; `task_index`, `frame_index` and `timestamp` are checked if among them.

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
                f"{dataset.root / 'meta'} lists {some_tasks(dataset.tasks)}."
            )
    if "frame_index" in values:
        numbers = values["frame_index"].astype(np.int64)
        if len(late := np.flatnonzero(np.diff(numbers) != 1)):
            frame = int(late[0])
            raise DatasetError(
                f"{_where(episode, frame)}: frame_index goes from {numbers[frame]} to {numbers[frame + 1]}: the "
                "episode's rows are out of order, or some are missing. Leave it out, or write its rows in order."
            )
    if "timestamp" in values:
        _check_clock(dataset.fps, episode, values["timestamp"].astype(np.float64))


def _check_clock(fps: float, episode: Episode, times_s: np.ndarray) -> None:
    """Each step of the timestamps, and all of them together, against the frame rate."""
    period_s, steps_s = 1 / fps, np.diff(times_s)
    off = np.flatnonzero(np.abs(steps_s - period_s) > _TIME_SLACK * period_s)
    if len(off):
        raise DatasetError(
            f"{_where(episode, int(off[0]))}: the next frame is {steps_s[off[0]]:.4f} s later; at the dataset's "
            f"{fps:g} frames per second it must be {period_s:.4f} s (wrong fps in meta/info.json?)."
        )
    wanted_s = len(steps_s) * period_s
    if len(steps_s) and abs(steps_s.sum() - wanted_s) > max(_RATE_SLACK * wanted_s, period_s / 2):
        raise DatasetError(
            f"{_where(episode, 0)}: {len(times_s)} frames take {steps_s.sum():.3f} s, "
            f"{len(steps_s) / steps_s.sum():.3g} frames per second; the dataset's {fps:g} mean {wanted_s:.3f} s (wrong "
            "fps in meta/info.json?)."
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


def _decode(dataset: LeRobotDataset, episodes: Sequence[Episode], cameras: Sequence[str]) -> dict[int, str]:
    bad = {}
    for episode in episodes:
        for row in range(episode.start, episode.stop):
            try:
                images = dataset.row(row, cameras)
                for name in cameras:
                    require_declared_size(dataset.feature(name), images[name])
            except DatasetError as error:
                bad[episode.index] = f"{_where(episode, row - episode.start)}: {error}"
                break
    return bad


def _rows(episode: Episode) -> slice:
    return slice(episode.file_row, episode.file_row + episode.length)


def _where(episode: Episode, frame: int) -> str:
    return f"{episode.data_path}: episode {episode.index}, frame {frame}"
