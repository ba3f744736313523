"""Video of one episode: images, questions, answers and the true answers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import open_atomic
from inspire_fast.data.video import VideoEncoder
from inspire_fast.evaluation.records.frame import compose
from inspire_fast.evaluation.records.records import AnswerRecord
from inspire_fast.robots import Robot

VIDEO_FPS = 4
FRAMES_PER_IMAGE = 2  # each image is shown for half a second


class EpisodeVideo:
    """Frames of one episode, used in a `with` block; the file appears when the block ends without an error."""

    def __init__(self, path: Path, robot: Robot) -> None:
        self._path, self._robot = path, robot
        self._file = ExitStack()
        self._encoder: VideoEncoder | None = None
        self._lines = 0

    def __enter__(self) -> EpisodeVideo:
        return self

    def add(
        self,
        observation: Mapping[str, Any],
        answers: tuple[AnswerRecord, ...],
        status: str,
        caption: str,
    ) -> None:
        """Appends one image."""
        if self._encoder is None:
            self._lines = max(len(answers), 2)
        frame = compose(
            observation, self._robot, answers=answers, status=status, caption=caption, questions=self._lines
        )
        if self._encoder is None:
            height, width, _ = frame.shape
            partial = Path(self._file.enter_context(open_atomic(self._path)).name)
            self._encoder = VideoEncoder(partial, fps=VIDEO_FPS, height=height, width=width, codec="h264")
            self._file.callback(self._encoder.close)
        for _ in range(FRAMES_PER_IMAGE):
            self._encoder.add(np.ascontiguousarray(frame))

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)
