"""Folder of recorded datasets with a limit on disk: the oldest are deleted first."""

from __future__ import annotations

from collections.abc import Mapping
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
import logging
import math
from pathlib import Path
import re
import shutil
import time
from typing import Annotated, Any

from inspire_fast.core.files import lock_folder
from inspire_fast.core.ranges import Count, Positive, Range, require_ranges
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.serving.recording.frames import OpenEpisode

logger = logging.getLogger(__name__)

# Time and number of its start. Clocks jump, so only the number tells which dataset is older.
_NAME = re.compile(r"\d{8}T\d{6}Z-(\d{6,})")
_STORED = 1.01  # size of noise as PNG / as bytes
_MIN_BYTES = 1 << 20

Features = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class RecordingLimits:
    """Limits of a recording on disk and in memory.

    Attributes:
        max_bytes: size on disk of all finished datasets and the open one.
        segment_s: age at which a dataset is finished; it is finished earlier if it takes an eighth of `max_bytes`.
        max_waiting: requests in the recorder's queue; further ones are dropped and counted.
        max_memory_bytes: size of the queued requests, and again of the unwritten episodes. Above it, the longest
            episode is written and continued as another one.
    """

    max_bytes: Annotated[int, Range(_MIN_BYTES)] = 10 << 30
    segment_s: Positive = 600.0
    max_waiting: Count = 1024
    max_memory_bytes: Count = 256 << 20

    def __post_init__(self) -> None:
        require_ranges(self)

    @property
    def segment_bytes(self) -> int:
        """Size at which a dataset is finished."""
        return self.max_bytes // 8

    @property
    def episode_bytes(self) -> int:
        """Size of its values at which an episode is written and continued as another one."""
        return min(self.max_bytes // 16, self.max_memory_bytes // 4)


class RefusedEpisodeError(Exception):
    """An episode cannot be written; the next one may."""


def list_segments(directory: Path) -> list[Path]:
    """Finished datasets of a recording, oldest first; `LeRobotDataset` opens them."""
    found = [path for path in directory.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=_number)


class Segments:
    """Writer of episodes into datasets `<directory>/<time>-<number>`, each finished at a limit of size or age.

    The open dataset is a hidden folder, which no reader takes for a dataset. If the process dies, the next one that
    records into the directory deletes it.

    Args:
        directory: created if missing. Only recorded datasets in it are ever deleted.
        limits: limits of size and age.
        fps, robot_type: see `DatasetWriter`.

    Raises:
        FileExistsError: another process records there.
    """

    def __init__(self, directory: Path, limits: RecordingLimits, *, fps: int, robot_type: str) -> None:
        self._directory, self._limits = directory, limits
        self._fps, self._robot_type = fps, robot_type
        self._writer: DatasetWriter | None = None
        self._features: Features = {}
        self._begun_s, self._metadata_bytes, self._rows = 0.0, 0, 0
        self._lock = lock_folder(directory, "records into")
        self._remove_left_overs()
        self._number = max(map(_number, list_segments(directory)), default=-1) + 1
        # Measured once: walking the folders for every episode would cost more than writing it.
        self._finished = {path: _size(path) for path in list_segments(directory)}
        self._make_room(0)

    def add(self, episode: OpenEpisode) -> None:
        """Appends an episode.

        Raises:
            RefusedEpisodeError: its values do not fit the features, or exceed the limit; nothing of it is written.
            Exception: the disk is full or failed; call `abandon`.
        """
        nbytes = int(_STORED * episode.nbytes)
        metadata = _metadata_bytes(episode.features)
        if nbytes + metadata > self._limits.max_bytes:
            raise RefusedEpisodeError(f"{nbytes} bytes do not fit into the limit of {self._limits.max_bytes}.")
        if self._writer is not None and episode.features != self._features:
            self.finish()
        self._make_room(nbytes + metadata)
        if self._writer is None:
            self._writer = self._begin(episode.features)
        try:
            self._writer.add_episode(episode.columns(), episode.task)
        except ValueError as error:
            raise RefusedEpisodeError(str(error)) from error
        self._metadata_bytes += metadata
        self._rows += len(episode.rows)
        if self._open_bytes >= self._limits.segment_bytes:
            self.finish()

    def finish_old(self) -> None:
        """Finishes the open dataset if it is old enough."""
        if self._writer is not None and time.monotonic() - self._begun_s >= self._limits.segment_s:
            self.finish()

    def finish(self) -> None:
        """Gives the open dataset its final name, or removes it if it has no episodes."""
        if self._writer is None:
            return
        root, written = self._writer.root, self._writer.episodes > 0
        if written:
            self._writer.close()
        else:
            self._writer.discard()
        self._writer = None  # only now: `abandon` needs it after an error above
        if written:
            self._finished[root] = _size(root)
            self._make_room(0)

    def abandon(self) -> int:
        """Drops the open dataset and ends recording, ignoring errors of the disk. Returns the number of lost rows."""
        writer, self._writer = self._writer, None
        with contextlib.suppress(OSError):
            if writer is not None:
                writer.discard()
        with contextlib.suppress(OSError):
            self._remove_left_overs()
        self._lock.close()
        return 0 if writer is None else self._rows

    def close(self) -> None:
        """Finishes the open dataset and releases the directory."""
        self.finish()
        self._lock.close()

    def _begin(self, features: Features) -> DatasetWriter:
        root = self._directory / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{self._number:06d}"
        self._number += 1
        self._features, self._begun_s, self._metadata_bytes, self._rows = features, time.monotonic(), 0, 0
        return DatasetWriter(root, fps=self._fps, robot_type=self._robot_type, features=features)

    @property
    def _open_bytes(self) -> int:
        """Size of the open dataset, with the metadata that finishing it will add."""
        return 0 if self._writer is None else self._writer.nbytes + self._metadata_bytes

    def _make_room(self, nbytes: int) -> None:
        """Deletes the oldest datasets until `nbytes` more fit."""
        if self._open_bytes + nbytes > self._limits.max_bytes:
            self.finish()  # too large alone: as a finished one it can be deleted like the others
        used = sum(self._finished.values()) + self._open_bytes
        while self._finished and used + nbytes > self._limits.max_bytes:
            oldest = min(self._finished, key=_number)
            used -= self._finished.pop(oldest)
            _remove(oldest)
            logger.info("Recording: deleted %s, the oldest, to stay within %d bytes.", oldest, self._limits.max_bytes)

    def _remove_left_overs(self) -> None:
        for path in self._directory.glob(".*"):
            name, _, end = path.name[1:].rpartition(".")
            if end in ("partial", "removed") and _NAME.fullmatch(name):
                shutil.rmtree(path)


def _remove(segment: Path) -> None:
    # Renamed first: a process that dies half-way leaves no dataset that looks complete.
    if segment.exists():  # a person may have deleted it
        shutil.rmtree(segment.rename(segment.with_name(f".{segment.name}.removed")))


def _metadata_bytes(features: Features) -> int:
    """Upper limit of the metadata of one episode: ten statistics per number, and the overhead of a table."""
    numbers = sum(math.prod(spec["shape"]) for spec in features.values() if spec["dtype"] != "image")
    return 160 * numbers + (16 << 10)


def _number(segment: Path) -> int:
    match = _NAME.fullmatch(segment.name)
    assert match is not None  # `list_segments` and `_begin` give no other names
    return int(match.group(1))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
