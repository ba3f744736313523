"""Rerun tracker: recordings to open with `rerun <run>/training_*.rrd`. Needs the extra `rerun`."""

from __future__ import annotations

from collections.abc import Mapping
import errno
from pathlib import Path
import shutil
from typing import Any, final

import numpy as np

from inspire_fast.core.html import png
from inspire_fast.training.trackers.base import Tracker
from inspire_fast.training.trackers.metric_names import tag

FREE_BYTES = 64 * 2**20
PATIENCE_S = 30.0


@final
class RerunTracker(Tracker):
    """Writes `<run>/training_<step>.rrd`, named after its first step, along the timeline `step`.

    Each start of a run writes a new recording; the file of a killed run stays unchanged.

    The SDK writes in its own thread. On a full disk that thread only prints to the terminal, and `disconnect` may then
    block forever (seen with rerun-sdk 0.41). Therefore nothing is written with less than `FREE_BYTES` free, waiting has
    a limit, every log call must make the file longer, and a failed recording is not closed.
    """

    def __init__(self, folder: Path, *, resume_at: int, run_name: str) -> None:
        import rerun as rr  # pyright: ignore[reportMissingImports]

        folder.mkdir(parents=True, exist_ok=True)
        self._rr, self._file, self._size, self._whole = rr, folder / f"training_{resume_at}.rrd", 0, True
        self._recording = rr.RecordingStream("inspire_fast_training")
        self._recording.save(self._file)
        self._recording.send_recording_name(f"{run_name}, from step {resume_at}")

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """One curve per metric."""
        self._log(step, {tag(name): self._rr.Scalars(value) for name, value in row.items()})

    def image(self, step: int, name: str, image: np.ndarray) -> None:
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
        self._whole = False  # until everything is written
        if (free := shutil.disk_usage(self._file).free) < FREE_BYTES:
            raise OSError(errno.ENOSPC, f"only {free:,} bytes are free, {FREE_BYTES:,} are needed", str(self._file))
        self._recording.set_time("step", sequence=step)
        for name, entity in entities.items():
            self._recording.log(name, entity)
        self._recording.flush(timeout_sec=PATIENCE_S)
        before, self._size = self._size, self._file.stat().st_size
        if self._size <= before:
            raise OSError(f"{self._file} does not grow beyond {before} bytes; Rerun printed the reason above")
        self._whole = True
