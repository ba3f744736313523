"""Rerun recordings. Needs the extra `rerun`; they are opened with `rerun <run>/training_*.rrd`."""

from __future__ import annotations

from collections.abc import Mapping
import errno
from pathlib import Path
import shutil
from typing import Any, final

import numpy as np

from inspire_fast.training.trackers.base import Tracker, png
from inspire_fast.training.trackers.metric_names import tag

FREE_BYTES = 64 * 2**20
PATIENCE_S = 30.0


@final
class RerunTracker(Tracker):
    """Writes `<run>/training_<step>.rrd`, where `step` is the one that it begins at, along the timeline `step`.

    Each start of a run is a recording of its own: a file that a killed run left behind stays as it is.

    The SDK writes in a thread of its own. When that meets a full disk it tells the terminal alone, and `disconnect` may then
    block forever (seen with rerun-sdk 0.41). So nothing is written where less than `FREE_BYTES` are free, waiting has a
    limit, what was logged must have made the file longer, and a recording that failed is left as it is.
    """

    def __init__(self, folder: Path, *, resume_at: int, run_name: str) -> None:
        import rerun as rr  # pyright: ignore[reportMissingImports]

        folder.mkdir(parents=True, exist_ok=True)
        self._rr, self._file, self._size, self._whole = rr, folder / f"training_{resume_at}.rrd", 0, True
        self._recording = rr.RecordingStream("inspire_fast_training")
        self._recording.save(self._file)
        self._recording.send_recording_name(f"{run_name}, from step {resume_at}")

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """One curve per figure."""
        self._log(step, {tag(name): self._rr.Scalars(value) for name, value in row.items()})

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """As PNG."""
        self._log(step, {name: self._rr.EncodedImage(contents=png(image), media_type="image/png")})

    def text(self, step: int, name: str, markdown: str) -> None:
        """As Markdown."""
        self._log(step, {name: self._rr.TextDocument(markdown, media_type="text/markdown")})

    def close(self, *, failed: bool = False) -> None:
        """Ends the file."""
        del failed
        if self._whole:
            self._recording.flush(timeout_sec=PATIENCE_S)
            self._recording.disconnect()

    def _log(self, step: int, entities: Mapping[str, Any]) -> None:
        self._whole = False  # until all of it is written
        if (free := shutil.disk_usage(self._file).free) < FREE_BYTES:
            raise OSError(errno.ENOSPC, f"only {free:,} bytes are free, {FREE_BYTES:,} are asked for", str(self._file))
        self._recording.set_time("step", sequence=step)
        for name, entity in entities.items():
            self._recording.log(name, entity)
        self._recording.flush(timeout_sec=PATIENCE_S)
        before, self._size = self._size, self._file.stat().st_size
        if self._size <= before:
            raise OSError(f"{self._file} does not grow beyond {before} bytes; Rerun's own message above says why")
        self._whole = True
