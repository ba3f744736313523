"""Cameras by a line of text: the driver's name, a colon, and which one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inspire_fast.core.registry import Registry
from inspire_fast.robots.cameras.base import Camera
from inspire_fast.robots.cameras.recorded import RecordedPictures

CAMERAS: Registry[Callable[[str], Camera]] = Registry(
    "camera", {"pictures": lambda which: RecordedPictures(Path(which))}
)


def camera_of(text: str) -> Camera:
    """A camera by text, e.g. `pictures:runs/pictures`. Nothing is opened yet.

    Raises:
        ValueError: no colon, or an unknown driver; the message lists those that there are.
    """
    name, colon, which = text.partition(":")
    if not colon or not which:
        raise ValueError(f"A camera is written as driver:which, with one of {sorted(CAMERAS)}; got {text!r}.")
    return CAMERAS[name](which)
