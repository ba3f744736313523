"""RealSense cameras by `pyrealsense2`. Untested on hardware."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np

from inspire_fast.robots.cameras.base import CameraError, Frame

_WAIT_MS = 1000


class RealSenseCamera:
    """See `Camera`.

    Args:
        serial: number on the camera.
        size: height and width, px.
        rate_hz: pictures per second.
    """

    def __init__(self, serial: str, *, size: tuple[int, int] = (480, 640), rate_hz: int = 30) -> None:
        self._serial, self._size, self._rate_hz = serial, size, rate_hz
        self._pipeline: Any = None

    def open(self) -> None:
        """See `Camera`."""
        try:
            rs: Any = importlib.import_module("pyrealsense2")
        except ModuleNotFoundError as error:
            raise ImportError("RealSense's package is not installed: pip install pyrealsense2") from error
        config = rs.config()
        config.enable_device(self._serial)
        config.enable_stream(rs.stream.color, self._size[1], self._size[0], rs.format.rgb8, self._rate_hz)
        pipeline = rs.pipeline()
        try:
            pipeline.start(config)
        except RuntimeError as error:
            found = [device.get_info(rs.camera_info.serial_number) for device in rs.context().query_devices()]
            raise CameraError(f"RealSense {self._serial} does not start: {error}. Connected: {found}") from error
        self._pipeline = pipeline

    def read(self) -> Frame:
        """See `Camera`."""
        try:
            color = self._pipeline.wait_for_frames(_WAIT_MS).get_color_frame()
        except RuntimeError as error:
            raise CameraError(f"RealSense {self._serial}: {error}") from error
        return Frame(image=np.array(color.get_data()), time_s=time.monotonic())

    def close(self) -> None:
        """See `Camera`."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.stop()
