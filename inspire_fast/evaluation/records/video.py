"""The video of one episode: what the policy saw, what it was asked, what it answered, what was true."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.data.video import VideoEncoder
from inspire_fast.evaluation.records.frame import compose
from inspire_fast.evaluation.records.records import AnswerRecord
from inspire_fast.robots import Robot

VIDEO_FPS = 4
FRAMES_PER_PICTURE = 2  # a picture per call stays half a second


class Film:
    """Frames of one episode; the file is renamed into place when the episode is complete."""

    def __init__(self, path: Path, robot: Robot) -> None:
        self._path, self._robot = path, robot
        # Of this process alone: one that outlives a killed evaluation must not write into its successor's file.
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.mp4")
        self._encoder: VideoEncoder | None = None
        self._lines = 0

    def __enter__(self) -> Film:
        return self

    def add(
        self,
        observation: Mapping[str, Any],
        answers: tuple[AnswerRecord, ...],
        status: str,
        caption: str,
    ) -> None:
        """Appends one picture."""
        if self._encoder is None:
            self._lines = max(len(answers), 2)
        frame = compose(
            observation, self._robot, answers=answers, status=status, caption=caption, questions=self._lines
        )
        if self._encoder is None:
            height, width, _ = frame.shape
            self._encoder = VideoEncoder(self._partial, fps=VIDEO_FPS, height=height, width=width, codec="h264")
        for _ in range(FRAMES_PER_PICTURE):
            self._encoder.add(np.ascontiguousarray(frame))

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        if self._encoder is None:
            return
        whole = False
        try:
            self._encoder.close()
            whole = kind is None
        finally:
            if whole:
                self._partial.replace(self._path)
            else:
                self._partial.unlink(missing_ok=True)


def remove_partial_films(folder: Path) -> None:
    """Deletes what killed processes left behind."""
    for path in folder.glob(".*.partial.mp4"):
        path.unlink(missing_ok=True)
