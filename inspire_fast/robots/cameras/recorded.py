"""Recorded pictures as a camera, to bring a robot up without cameras: a folder of pictures, or a GIF, at a rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import time

import numpy as np
from PIL import Image, ImageSequence

from inspire_fast.robots.cameras.base import CameraError, Frame

_SUFFIXES = (".png", ".jpg", ".jpeg")


class RecordedPictures:
    """See `Camera`.

    Args:
        path: folder of PNG and JPEG files, in the order of their names, or an animated GIF or PNG.
        rate_hz: pictures per second.
        loop: begin again after the last one; otherwise the camera stops sending there.
    """

    def __init__(self, path: Path, *, rate_hz: float = 30.0, loop: bool = True) -> None:
        if not rate_hz > 0:
            raise ValueError(f"rate_hz must be > 0; got {rate_hz}.")
        self._path, self._period_s, self._loop = path, 1.0 / rate_hz, loop
        self._frames: Iterator[np.ndarray] = iter(())
        self._due_s = 0.0

    def open(self) -> None:
        """See `Camera`."""
        if not self._path.exists():
            raise CameraError(f"{self._path} does not exist")
        self._frames, self._due_s = self._pictures(), time.monotonic()

    def read(self) -> Frame:
        """See `Camera`."""
        image = next(self._frames, None)
        if image is None:
            raise CameraError(f"{self._path} has ended")
        self._due_s = max(self._due_s + self._period_s, time.monotonic() - self._period_s)
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        return Frame(image=image, time_s=time.monotonic())

    def close(self) -> None:
        """See `Camera`."""
        self._frames = iter(())

    def _pictures(self) -> Iterator[np.ndarray]:
        if self._path.is_dir():
            files = sorted(file for file in self._path.iterdir() if file.suffix.lower() in _SUFFIXES)
            if not files:
                raise CameraError(f"{self._path} holds no pictures ({', '.join(_SUFFIXES)})")
            while True:
                for file in files:
                    with Image.open(file) as picture:
                        yield np.array(picture.convert("RGB"))
                if not self._loop:
                    return
        while True:
            with Image.open(self._path) as picture:
                for part in ImageSequence.Iterator(picture):
                    yield np.array(part.convert("RGB"))
            if not self._loop:
                return
