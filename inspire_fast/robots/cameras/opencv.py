"""Cameras and video files by OpenCV (V4L2 on Linux). Needs `opencv-python-headless`."""

from __future__ import annotations

import importlib
from pathlib import Path
import time
from typing import Any

import numpy as np

from inspire_fast.robots.cameras.base import CameraError, Frame

_RATE_SLACK_HZ = 0.6


class OpenCvCamera:
    """See `Camera`.

    Args:
        source: number of the device (0 is /dev/video0), or a video file, which is played at its rate over and over.
        size: height and width asked for; another one is refused. None: the device's own.
        rate_hz: rate asked for; a device that offers less is refused. None: the device's own.
    """

    def __init__(
        self, source: int | Path, *, size: tuple[int, int] | None = None, rate_hz: float | None = None
    ) -> None:
        self._source, self._size, self._rate_hz = source, size, rate_hz
        self._capture: Any = None
        self._period_s, self._due_s = 0.0, 0.0

    def open(self) -> None:
        """See `Camera`."""
        try:
            cv2: Any = importlib.import_module("cv2")
        except ModuleNotFoundError as error:
            raise ImportError("OpenCV is not installed: pip install opencv-python-headless") from error
        name = str(self._source) if isinstance(self._source, Path) else f"/dev/video{self._source}"
        self._capture = capture = cv2.VideoCapture(name if isinstance(self._source, Path) else self._source)
        if not capture.isOpened():
            raise CameraError(f"{name} cannot be opened. Is it there, and does no other program use it?")
        if isinstance(self._source, Path):
            self._period_s = 1.0 / (capture.get(cv2.CAP_PROP_FPS) or 30.0)
            self._due_s = time.monotonic()
            return
        if self._size is not None:
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[0])
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[1])
            got = (int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)))
            if got != self._size:
                raise CameraError(f"{name} offers {got[0]} x {got[1]} px, not {self._size[0]} x {self._size[1]}")
        if self._rate_hz is not None:
            capture.set(cv2.CAP_PROP_FPS, self._rate_hz)
            if (rate := capture.get(cv2.CAP_PROP_FPS)) < self._rate_hz - _RATE_SLACK_HZ:
                raise CameraError(f"{name} offers {rate:g} pictures per second, not {self._rate_hz:g}")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest picture, not the oldest of a queue

    def read(self) -> Frame:
        """See `Camera`."""
        read, image = self._capture.read()
        if not read and isinstance(self._source, Path):
            self._capture.set(1, 0)  # CAP_PROP_POS_FRAMES: play again
            read, image = self._capture.read()
        if not read:
            raise CameraError("no picture came; is the cable in?")
        if isinstance(self._source, Path):
            self._due_s = max(self._due_s + self._period_s, time.monotonic() - self._period_s)
            time.sleep(max(0.0, self._due_s - time.monotonic()))
        return Frame(image=np.ascontiguousarray(image[..., ::-1]), time_s=time.monotonic())

    def close(self) -> None:
        """See `Camera`."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()
