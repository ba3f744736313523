"""Cameras by a line of text: the driver's name, a colon, and which one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from inspire_fast.core.registry import Registry
from inspire_fast.robots.cameras.base import Camera
from inspire_fast.robots.cameras.opencv import OpenCvCamera
from inspire_fast.robots.cameras.process import CameraProcess
from inspire_fast.robots.cameras.realsense import RealSenseCamera
from inspire_fast.robots.cameras.recorded import RecordedPictures
from inspire_fast.robots.cameras.ros import RosCamera
from inspire_fast.robots.cameras.zed import ZedCamera

CAMERAS: Registry[Callable[[str], Camera]] = Registry(
    "camera",
    {
        "opencv": lambda which: OpenCvCamera(_number(which, "a device, as in opencv:0")),
        "video": lambda which: OpenCvCamera(Path(which)),
        "pictures": lambda which: RecordedPictures(Path(which)),
        "realsense": RealSenseCamera,
        "zed": lambda which: ZedCamera(_number(which, "a serial number")),
        "ros": lambda topic: CameraProcess(partial(RosCamera, topic)),
    },
)


def camera_of(text: str) -> Camera:
    """A camera by text, e.g. `opencv:0` or `pictures:runs/pictures`. Nothing is opened yet.

    Raises:
        ValueError: no colon, or no number where one is needed.
        UnknownNameError: an unknown driver; the message lists those that there are.
    """
    name, colon, which = text.partition(":")
    if not colon or not which:
        raise ValueError(f"A camera is written as driver:which, with one of {sorted(CAMERAS)}; got {text!r}.")
    return CAMERAS[name](which)


def _number(text: str, what: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"This camera needs the number of {what}; got {text!r}.")
    return int(text)
