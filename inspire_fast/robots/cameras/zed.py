"""ZED cameras by Stereolabs' `pyzed`, which comes with the ZED SDK and is in no package index. Untested on hardware."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np

from inspire_fast.robots.cameras.base import CameraError, Frame


class ZedCamera:
    """See `Camera`: the left eye's rectified picture.

    Args:
        serial: number on the camera.
        rate_hz: pictures per second.
    """

    def __init__(self, serial: int, *, rate_hz: int = 30) -> None:
        self._serial, self._rate_hz = serial, rate_hz
        self._sdk: Any = None
        self._camera: Any = None

    def open(self) -> None:
        """See `Camera`."""
        try:
            self._sdk = sl = importlib.import_module("pyzed.sl")
        except ModuleNotFoundError as error:
            raise ImportError("Stereolabs' pyzed is not installed; it comes with the ZED SDK") from error
        setup: Any = sl.InitParameters()
        setup.set_from_serial_number(self._serial)
        setup.camera_resolution, setup.camera_fps = sl.RESOLUTION.HD720, self._rate_hz
        setup.depth_mode = sl.DEPTH_MODE.NONE
        self._camera = sl.Camera()
        if (status := self._camera.open(setup)) != sl.ERROR_CODE.SUCCESS:
            raise CameraError(f"ZED {self._serial} does not open: {status}")

    def read(self) -> Frame:
        """See `Camera`."""
        sl, picture = self._sdk, self._sdk.Mat()
        if (status := self._camera.grab()) != sl.ERROR_CODE.SUCCESS:
            raise CameraError(f"ZED {self._serial} sends no picture: {status}")
        self._camera.retrieve_image(picture, sl.VIEW.LEFT)
        bgra = np.asarray(picture.get_data())
        return Frame(image=np.ascontiguousarray(bgra[..., 2::-1]), time_s=time.monotonic())

    def close(self) -> None:
        """See `Camera`."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()
