"""Interface of a camera: pictures with the time at which they were taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class CameraError(OSError):
    """A camera is missing, has another size or rate than asked for, or has stopped sending."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture.

    Attributes:
        image: uint8 `[h, w, 3]`, RGB, upright.
        time_s: when it was taken, on `time.monotonic`. A driver that only knows when the picture arrived says that.
    """

    image: np.ndarray
    time_s: float


class Camera(Protocol):
    """A driver. `open`, `read` and `close` are called from one thread."""

    def open(self) -> None:
        """Starts the camera.

        Raises:
            CameraError: it is missing, or cannot send what was asked for.
            ImportError: its package is not installed; the message names it.
        """
        ...

    def read(self) -> Frame:
        """Waits for the next picture.

        Raises:
            CameraError: none came.
        """
        ...

    def close(self) -> None:
        """Frees the camera. Calling it twice is harmless."""
        ...
