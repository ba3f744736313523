"""Check of videos against rows: as many frames as rows, each at its row's time, of the size that is declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.frames import declared_hw
from inspire_fast.data.lerobot.meta import Episode
from inspire_fast.data.video import VideoReader

# A row shows the frame nearest to its time: from half of a frame's time on, its neighbour. LeRobot allows 1e-4 s.
_SLACK = 0.4


@dataclass(frozen=True, kw_only=True)
class _File:
    """Times of a video's frames, seconds from the first `[n]`, and their stored height and width."""

    frames_s: np.ndarray
    hw: tuple[int, int]


def find_bad_videos(
    dataset: LeRobotDataset, episodes: Sequence[Episode], names: Sequence[str], times_s: Mapping[int, np.ndarray]
) -> dict[int, str]:
    """Episode -> the defect of its video, or of its part of a shared one; frames are not decoded.

    Args:
        dataset: the dataset.
        episodes: those to be checked.
        names: cameras with videos.
        times_s: episode -> the timestamps of its rows `[length]`.
    """
    bad: dict[int, str] = {}
    checked = {episode.index for episode in episodes}
    for name in names:
        for path, sharing in _by_file(dataset.episodes, name).items():
            mine = [episode for episode in sharing if episode.index in checked]
            file = _open(path) if mine else ""
            if isinstance(file, str):
                bad |= {e.index: f"{_frame(e, 0, name)}: {file}" for e in mine if e.index not in bad}
                continue
            firsts, stops = (frames.tolist() for frames in _firsts(sharing, name, file))
            for episode, first, stop, to_s in zip(sharing, firsts, stops, _ends_s(sharing, name), strict=True):
                if episode.index in checked and episode.index not in bad:
                    part = _Part(dataset, episode, name, times_s[episode.index].astype(np.float64), file, first, to_s)
                    reason = part.wrong_size() or part.wrong_length() or part.off_the_grid() or part.overlap(stop)
                    bad |= {episode.index: reason} if reason else {}
    return bad


def _ends_s(sharing: Sequence[Episode], name: str) -> list[float | None]:
    """Where each part ends: as the table says, else where the next one begins; None: at the end of the video."""
    begins = [episode.videos[name].from_s for episode in sharing]
    said = [episode.videos[name].to_s for episode in sharing]
    return [end if end is not None else begin for end, begin in zip(said, [*begins[1:], None], strict=True)]


def _by_file(episodes: Sequence[Episode], name: str) -> dict[Path, list[Episode]]:
    """Video of a camera -> the episodes that share it, in the order of their parts."""
    sharing: dict[Path, list[Episode]] = {}
    for episode in episodes:
        sharing.setdefault(episode.videos[name].path, []).append(episode)
    return {path: sorted(shared, key=lambda e: e.videos[name].from_s) for path, shared in sharing.items()}


def _firsts(sharing: Sequence[Episode], name: str, file: _File) -> tuple[np.ndarray, np.ndarray]:
    """The first frame of each episode in its video, and the frame at which the part before ends.

    Where there are as many frames as rows, parts follow each other without a gap, and a `from_timestamp` that says
    something else is wrong. They come in the order of the episodes or of `from_timestamp`, whichever fits more of them.
    Else `from_timestamp` is the only thing that says which frames are an episode's.
    """
    rows = np.array([episode.length for episode in sharing])
    begins_s = [episode.videos[name].from_s for episode in sharing]
    said = np.array([np.argmin(np.abs(file.frames_s - begin_s)) for begin_s in begins_s])
    if rows.sum() != len(file.frames_s):
        return said, np.concatenate([[0], (said + rows)[:-1]])
    orders = (np.argsort([episode.index for episode in sharing]), np.arange(len(sharing)))
    firsts = [np.cumsum(rows[order])[np.argsort(order)] - rows for order in orders]
    best = max(firsts, key=lambda first: int((first == said).sum()))
    return best, np.zeros_like(best)


class _Part:
    """The part of a video that is an episode's; each check gives the defect, or an empty text."""

    def __init__(
        self,
        dataset: LeRobotDataset,
        episode: Episode,
        name: str,
        times_s: np.ndarray,
        file: _File,
        first: int,
        to_s: float | None,
    ) -> None:
        self._episode, self._name, self._file, self._first = episode, name, file, first
        self._to_s = to_s
        self._feature, self._period_s = dataset.feature(name), 1 / dataset.fps
        self._place = episode.videos[name]
        self._wanted_s = self._place.from_s + times_s

    def wrong_size(self) -> str:
        declared = declared_hw(self._feature)
        # Either way round: whether the video is to be turned is known when a frame is decoded.
        if declared is None or sorted(declared) == sorted(self._file.hw):
            return ""
        stored = "{} x {}".format(*self._file.hw)
        return self._at(0, f"has pictures of {stored}; meta/info.json declares {declared[0]} x {declared[1]} (h x w)")

    def wrong_length(self) -> str:
        """More or fewer frames than rows."""
        end_s, rows, to_s = self._file.frames_s[-1] + self._period_s, self._episode.length, self._to_s
        beyond = np.flatnonzero(self._wanted_s > end_s - self._period_s / 2)
        last = f"the last frame is at {self._wanted_s[-1]:.3f} s"
        if len(beyond):
            return self._at(beyond[0], f"is shorter than its index says: it lasts {end_s:.3f} s, and {last}")
        if to_s is None:
            if (frames := len(self._file.frames_s)) > self._first + rows:
                return self._at(
                    0, f"has {frames} frames and the episode {rows} rows; which frame belongs to which row is not known"
                )
            return ""
        beyond = np.flatnonzero(self._wanted_s > to_s + self._period_s / 2)
        if len(beyond):
            what = "is the episode's for a shorter time than it has frames: until"
            return self._at(beyond[0], f"{what} {to_s:.3f} s, and {last}")
        if to_s - self._place.from_s > (rows + 0.5) * self._period_s:
            what = "is the episode's for a longer time than it has frames:"
            return self._at(0, f"{what} {to_s - self._place.from_s:.3f} s for {rows} rows")
        return ""

    def off_the_grid(self) -> str:
        """A row whose time is not that of its own frame: it would show a neighbour."""
        own = np.minimum(self._first + np.arange(self._episode.length), len(self._file.frames_s) - 1)
        off = (self._wanted_s - self._file.frames_s[own]) / self._period_s
        bad = np.flatnonzero(np.abs(off) > _SLACK)
        if not len(bad):
            return ""
        at_s, parts, side = self._wanted_s[bad[0]], abs(off[bad[0]]), "after" if off[bad[0]] > 0 else "before"
        what = f"is looked up at {at_s:.3f} s, {parts:.2f} of a frame {side} that row's frame"
        return self._at(bad[0], f"{what} (timestamps, `from_timestamp` or fps are wrong)")

    def overlap(self, stop: int) -> str:
        """Frames of a shared video, before `stop`, that an earlier episode has, too."""
        shared = stop - self._first
        return self._at(0, f"has {shared} frames that belong to an earlier episode as well") if shared > 0 else ""

    def _at(self, frame: int, what: str) -> str:
        return f"{_frame(self._episode, frame, self._name)}: {self._place.path} {what}."


def _frame(episode: Episode, frame: int, name: str) -> str:
    return f"Episode {episode.index}, frame {frame}, {name!r}"


def _open(path: Path) -> _File | str:
    try:
        reader = VideoReader(path)
    except DatasetError as error:
        return str(error)
    try:
        frames_s = reader.frame_times_s()
        return _File(frames_s=frames_s, hw=reader.stored_hw) if len(frames_s) else f"{path} holds no frames."
    finally:
        reader.close()
