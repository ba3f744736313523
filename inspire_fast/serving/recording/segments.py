"""A folder of finished datasets, oldest deleted first, so that recordings never take more than their share of the disk."""

from __future__ import annotations

from collections.abc import Mapping
import contextlib
from datetime import UTC, datetime
import fcntl
import logging
import math
from pathlib import Path
import re
import shutil
import time
from typing import Any

from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.serving.recording.frames import OpenEpisode

logger = logging.getLogger(__name__)

# When it was begun, and its number: clocks jump, so the number alone says which is older.
_NAME = re.compile(r"\d{8}T\d{6}Z-(\d{6,})")
_STORED = 1.01  # noise takes a little more as PNG than as bytes

Features = Mapping[str, Mapping[str, Any]]


class RefusedEpisodeError(Exception):
    """An episode cannot be written, and the next one may."""


def list_segments(directory: Path) -> list[Path]:
    """The finished datasets of a recording, oldest first; each opens as a `LeRobotDataset`."""
    found = [path for path in directory.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=_number)


class Segments:
    """Writes episodes into datasets `<directory>/<time>-<number>`; one is finished when it is large or old enough.

    The one being written is a hidden folder that no reader takes for a dataset; a process that dies leaves it behind, and the
    next one to record there deletes it.

    Args:
        directory: made if need be. Only what was recorded in it is ever deleted.
        max_bytes: of everything in it together; the oldest datasets are deleted to make room.
        segment_bytes: a dataset that is as large is finished.
        segment_s: one that was begun so long ago is finished, too.
        fps, robot_type: see `DatasetWriter`.

    Raises:
        FileExistsError: another process records there.
    """

    def __init__(
        self, directory: Path, *, max_bytes: int, segment_bytes: int, segment_s: float, fps: int, robot_type: str
    ) -> None:
        self._directory, self._max_bytes = directory, max_bytes
        self._segment_bytes, self._segment_s = segment_bytes, segment_s
        self._fps, self._robot_type = fps, robot_type
        self._writer: DatasetWriter | None = None
        self._features: Features = {}
        self._begun_s, self._metadata_bytes, self._rows = 0.0, 0, 0
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = (directory / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise FileExistsError(f"Another process records into {directory}; choose another folder.") from error
        self._remove_left_overs()
        self._number = max(map(_number, list_segments(directory)), default=-1) + 1
        # Walking through them for every episode would cost more than writing it.
        self._finished = {path: _size(path) for path in list_segments(directory)}
        self._make_room(0)

    def add(self, episode: OpenEpisode) -> None:
        """Appends an episode.

        Raises:
            RefusedEpisodeError: its values do not fit the features, or are more than may be kept; nothing of it is written.
            Exception: the disk is full, or failed; call `abandon`.
        """
        nbytes = int(_STORED * episode.nbytes)
        metadata = _metadata_bytes(episode.features)
        if nbytes + metadata > self._max_bytes:
            raise RefusedEpisodeError(f"{nbytes} bytes do not fit into the {self._max_bytes} that may be kept.")
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
        if self._open_bytes >= self._segment_bytes:
            self.finish()

    def finish_old(self) -> None:
        """Finishes the open dataset if it is old enough."""
        if self._writer is not None and time.monotonic() - self._begun_s >= self._segment_s:
            self.finish()

    def finish(self) -> None:
        """Gives the open dataset its name, if there is one with episodes."""
        if self._writer is None:
            return
        root, written = self._writer.root, self._writer.episodes > 0
        if written:
            self._writer.close()
        else:
            self._writer.discard()
        self._writer = None  # only now: what fails before is abandoned with it
        if written:
            self._finished[root] = _size(root)
            self._make_room(0)

    def abandon(self) -> int:
        """Drops the open dataset and takes no more; whatever the disk does now, nothing is raised. Returns its rows."""
        writer, self._writer = self._writer, None
        with contextlib.suppress(OSError):
            if writer is not None:
                writer.discard()
        with contextlib.suppress(OSError):
            self._remove_left_overs()
        self._lock.close()
        return 0 if writer is None else self._rows

    def close(self) -> None:
        """Finishes the open dataset and lets others record here."""
        self.finish()
        self._lock.close()

    def _begin(self, features: Features) -> DatasetWriter:
        root = self._directory / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{self._number:06d}"
        self._number += 1
        self._features, self._begun_s, self._metadata_bytes, self._rows = features, time.monotonic(), 0, 0
        return DatasetWriter(root, fps=self._fps, robot_type=self._robot_type, features=features)

    @property
    def _open_bytes(self) -> int:
        """Of the open dataset, with what it will take to finish it."""
        return 0 if self._writer is None else self._writer.nbytes + self._metadata_bytes

    def _make_room(self, nbytes: int) -> None:
        """Deletes the oldest datasets until so much more may be written."""
        if self._open_bytes + nbytes > self._max_bytes:
            self.finish()  # it alone would be too much: now it is a finished one like the others
        used = sum(self._finished.values()) + self._open_bytes
        while self._finished and used + nbytes > self._max_bytes:
            oldest = min(self._finished, key=_number)
            used -= self._finished.pop(oldest)
            _remove(oldest)
            logger.info("Recording: deleted %s, the oldest, to stay within %d bytes.", oldest, self._max_bytes)

    def _remove_left_overs(self) -> None:
        for path in self._directory.glob(".*"):
            name, _, end = path.name[1:].rpartition(".")
            if end in ("partial", "removed") and _NAME.fullmatch(name):
                shutil.rmtree(path)


def _remove(segment: Path) -> None:
    # Renamed first: a process that dies half-way leaves nothing that looks whole.
    if segment.exists():  # someone may have tidied up by hand
        shutil.rmtree(segment.rename(segment.with_name(f".{segment.name}.removed")))


def _metadata_bytes(features: Features) -> int:
    """What the metadata of an episode takes at most: ten statistics of every number, and what a table needs itself."""
    numbers = sum(math.prod(spec["shape"]) for spec in features.values() if spec["dtype"] != "image")
    return 160 * numbers + (16 << 10)


def _number(segment: Path) -> int:
    match = _NAME.fullmatch(segment.name)
    assert match is not None  # `list_segments` and `_begin` give no others
    return int(match.group(1))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
