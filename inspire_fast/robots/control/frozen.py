"""Frozen cameras: a driver that hands out one picture for good while the arm moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
import zlib

import numpy as np

from inspire_fast.core.nested import flatten_dict
from inspire_fast.robots.spec import Robot

# Sensors are noisy, so that two pictures of a working camera differ. One may still be seen twice: cameras are slower
# than some control loops. It is frozen after this many looks, seconds, and share of any state dimension's range.
_LOOKS, _SECONDS, _MOVED = 4, 0.5, 0.02


@dataclass(frozen=True)
class _Sight:
    """A picture by its checksum, the steps and the state when it was first seen, and how often it was seen."""

    checksum: int
    step: int
    state: np.ndarray
    looks: int = 1


class FrozenCameras:
    """Notices cameras that show the same bytes while the measured state changes. One object per episode."""

    def __init__(self, robot: Robot) -> None:
        """Takes the robot, whose cameras and state are watched."""
        self._robot = robot
        self._seen: dict[str, _Sight] = {}

    def check(self, observation: Mapping[str, Any], step: int) -> str:
        """Why the observation's pictures cannot be trusted; empty if they can.

        Args:
            observation: native observation; pictures of one colour are not judged, as they may be placeholders.
            step: control steps executed so far.

        Raises:
            ValueError: the state is unusable; see `Robot.native_state`.
        """
        flat, state = flatten_dict(observation), self._robot.native_state(observation)
        frozen = [key for key in self._robot.cameras if key in flat and self._is_frozen(key, flat[key], state, step)]
        if not frozen:
            return ""
        sight = self._seen[frozen[0]]
        return (
            f"{', '.join(frozen)}: the same picture at {sight.looks} looks over {step - sight.step} steps while the "
            f"arm moved by {self._moved(sight, state):.0%} of its range; the camera is frozen. Restart its driver."
        )

    def _is_frozen(self, key: str, image: Any, state: np.ndarray, step: int) -> bool:
        if not isinstance(image, np.ndarray):
            return False  # the policy refuses it
        pixels = cast("np.ndarray", image)
        if pixels.dtype.kind not in "biuf":
            return False  # and that
        checksum, sight = zlib.crc32(np.ascontiguousarray(pixels).data), self._seen.get(key)
        if sight is None or sight.checksum != checksum:
            self._seen[key] = _Sight(checksum, step, state)
            return False
        self._seen[key] = sight = _Sight(checksum, sight.step, sight.state, sight.looks + 1)
        long = sight.looks >= _LOOKS and step - sight.step >= _SECONDS * self._robot.control_hz
        return long and self._moved(sight, state) > _MOVED and bool(np.ptp(pixels))

    def _moved(self, sight: _Sight, state: np.ndarray) -> float:
        return float(self._robot.state_moved(sight.state, state).max())
