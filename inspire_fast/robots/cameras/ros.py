"""Image topics of ROS 1 (`rospy`) as cameras. Untested on hardware."""

from __future__ import annotations

import queue
import time
from typing import Any

import numpy as np

from inspire_fast.robots.cameras.base import CameraError, Frame
from inspire_fast.robots.ros import RosError, ros, start_node

_WAIT_S = 1.0
_ORDERS = {"rgb8": slice(None), "bgr8": slice(None, None, -1)}  # of the channels


class RosCamera:
    """See `Camera`. Opening it makes its process a ROS node.

    Args:
        topic: of messages `sensor_msgs/Image` with rgb8 or bgr8 pixels.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._frames: queue.Queue[Frame | str] = queue.Queue(maxsize=1)
        self._subscriber: Any = None

    def open(self) -> None:
        """See `Camera`."""
        try:
            start_node("inspire_fast_camera")
            rospy, messages = ros("rospy"), ros("sensor_msgs.msg")
        except RosError as error:
            raise CameraError(str(error)) from error
        self._subscriber = rospy.Subscriber(self._topic, messages.Image, self._take, queue_size=1, buff_size=2**24)

    def read(self) -> Frame:
        """See `Camera`."""
        try:
            frame = self._frames.get(timeout=_WAIT_S)
        except queue.Empty:
            raise CameraError(f"nothing came on {self._topic} for {_WAIT_S:g} s") from None
        if isinstance(frame, str):
            raise CameraError(frame)
        return frame

    def close(self) -> None:
        """See `Camera`."""
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            subscriber.unregister()

    def _take(self, message: Any) -> None:
        arrived: Frame | str
        try:
            arrived = Frame(image=image_of(message), time_s=time.monotonic())
        except ValueError as error:
            arrived = f"{self._topic}: {error}"
        while True:  # the newest one counts
            try:
                self._frames.put_nowait(arrived)
                return
            except queue.Full:
                try:
                    self._frames.get_nowait()
                except queue.Empty:
                    continue


def image_of(message: Any) -> np.ndarray:
    """A `sensor_msgs/Image` -> uint8 `[h, w, 3]`, RGB; its rows may be padded.

    Raises:
        ValueError: another encoding, or fewer bytes than it says.
    """
    if message.encoding not in _ORDERS:
        raise ValueError(f"the encoding is {message.encoding!r}; expected one of {sorted(_ORDERS)}")
    data = np.frombuffer(message.data, np.uint8)
    h, w, step = message.height, message.width, message.step
    if len(data) != h * step or step < 3 * w:
        raise ValueError(f"{len(data)} bytes for {h} rows of {step} bytes and {w} pixels")
    pixels = data.reshape(h, step)[:, : 3 * w].reshape(h, w, 3)
    return np.ascontiguousarray(pixels[..., _ORDERS[message.encoding]])
