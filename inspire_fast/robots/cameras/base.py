"""Interface of a camera: pictures with the time at which they were taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from inspire_fast.core.ranges import Count, Positive, require_ranges


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


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """A camera and what is expected of it.

    Attributes:
        camera: the driver.
        size: height and width of its pictures, px; None: any.
        rate_hz: pictures per second; None: as many as keep them fresh.
    """

    camera: Camera
    size: tuple[Count, Count] | None = None
    rate_hz: Positive | None = None

    def __post_init__(self) -> None:
        require_ranges(self)
