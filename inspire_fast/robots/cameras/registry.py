"""Cameras by a line of text: the driver's name, a colon, and which one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
import re

from inspire_fast.core.registry import Registry
from inspire_fast.robots.cameras.base import Camera, CameraSpec
from inspire_fast.robots.cameras.opencv import OpenCvCamera
from inspire_fast.robots.cameras.process import CameraProcess
from inspire_fast.robots.cameras.realsense import RealSenseCamera
from inspire_fast.robots.cameras.recorded import RecordedPictures
from inspire_fast.robots.cameras.ros import RosCamera
from inspire_fast.robots.cameras.zed import ZedCamera


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A camera as a text asks for it: which one, its height and width in px, its rate; None: its own."""

    which: str
    size: tuple[int, int] | None
    rate_hz: float | None


CAMERAS: Registry[Callable[[Asked], Camera]] = Registry(
    "camera",
    {
        "opencv": lambda asked: OpenCvCamera(
            _number(asked, "a device, as in opencv:0"), size=asked.size, rate_hz=asked.rate_hz
        ),
        "video": lambda asked: OpenCvCamera(Path(asked.which)),
        "pictures": lambda asked: RecordedPictures(Path(asked.which)),
        "realsense": lambda asked: RealSenseCamera(
            asked.which, size=asked.size or (480, 640), rate_hz=round(asked.rate_hz or 30)
        ),
        "zed": lambda asked: ZedCamera(_number(asked, "a serial number")),
        "ros": lambda asked: CameraProcess(partial(RosCamera, asked.which)),
    },
)
_EXPECTED = re.compile(r"(?:@(?P<h>\d+)x(?P<w>\d+))?(?:@(?P<rate>\d+(?:\.\d+)?)hz)?$")


def camera_spec_of(text: str) -> CameraSpec:
    """A camera by text, with the size (height x width, px) and rate that it must have, if it says any.

        opencv:0    pictures:runs/pictures    opencv:2@480x640    realsense:123@480x640@30hz

    Nothing is opened yet.

    Raises:
        ValueError: no colon, no number where one is needed, or a size or rate of 0.
        UnknownNameError: an unknown driver; the message lists those that there are.
    """
    expected = _EXPECTED.search(text)
    assert expected is not None  # it matches nothing, too
    name, colon, which = text[: expected.start()].partition(":")
    if not colon or not which:
        raise ValueError(
            f"A camera is written as driver:which[@HEIGHTxWIDTH][@RATEhz], with one of {sorted(CAMERAS)}; got {text!r}."
        )
    size = (int(expected["h"]), int(expected["w"])) if expected["h"] else None
    rate_hz = float(expected["rate"]) if expected["rate"] else None
    return CameraSpec(camera=CAMERAS[name](Asked(which=which, size=size, rate_hz=rate_hz)), size=size, rate_hz=rate_hz)


def camera_of(text: str) -> Camera:
    """The driver of `camera_spec_of`, whatever size and rate it has then."""
    return camera_spec_of(text).camera


def _number(asked: Asked, what: str) -> int:
    if not asked.which.isdecimal():
        raise ValueError(f"This camera needs the number of {what}; got {asked.which!r}.")
    return int(asked.which)
