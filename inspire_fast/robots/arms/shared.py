"""Status of an arm in memory that two processes share: one writes, the other reads, neither waits."""

from __future__ import annotations

from dataclasses import dataclass
import multiprocessing.sharedctypes
import time
from typing import Any

import numpy as np

from inspire_fast.robots.arms.stream import ArmStream, Mode

_FIXED = 6  # sequence, time, mode, gripper, commands, resting
_READ_S = 0.2


@dataclass(frozen=True, kw_only=True)
class ArmStatus:
    """A stream at one of its ticks.

    Attributes:
        mode: see `Mode`.
        q, dq: `[n]` measured positions and velocities, rad and rad/s.
        commanded: `[n]` positions sent last.
        gripper: measured, 0 open .. 1 closed.
        obeyed: commands of the control loop that the stream has obeyed so far.
        resting: the command has reached its target.
        written_s: monotonic clock.
    """

    mode: Mode
    q: np.ndarray
    dq: np.ndarray
    commanded: np.ndarray
    gripper: float
    obeyed: int
    resting: bool
    written_s: float


class SharedStatus:
    """The memory: a sequence number that is odd while it is written, and the numbers of an `ArmStatus`."""

    def __init__(self, memory: Any) -> None:
        """Takes what `allocate` made, in either process."""
        self._values = np.frombuffer(memory, np.float64)
        self._joints = (len(self._values) - _FIXED) // 3

    @staticmethod
    def allocate(joints: int) -> Any:
        """Memory for an arm of so many joints, to be handed to the other process when it starts."""
        return multiprocessing.sharedctypes.RawArray("d", _FIXED + 3 * joints)

    def write(self, stream: ArmStream, obeyed: int) -> None:
        """Writes a stream's status, and how many commands it has obeyed."""
        reading, values = stream.reading, self._values
        values[0] += 1
        values[1:_FIXED] = time.monotonic(), stream.mode, reading.gripper, obeyed, stream.resting
        values[_FIXED:] = np.concatenate([reading.q, reading.dq, stream.commanded])
        values[0] += 1

    def read(self) -> ArmStatus | None:
        """The newest status; None before the first.

        Raises:
            TimeoutError: the writer stopped in the middle of writing.
        """
        end = time.monotonic() + _READ_S
        while time.monotonic() < end:
            before = self._values[0]
            values = self._values.copy()
            if before % 2 == 0 and self._values[0] == before:
                return None if before == 0 else self._status(values)
        raise TimeoutError("The process that drives the arm stopped while it wrote its status.")

    def _status(self, values: np.ndarray) -> ArmStatus:
        q, dq, commanded = values[_FIXED:].reshape(3, self._joints)
        return ArmStatus(
            mode=Mode(int(values[2])),
            q=q,
            dq=dq,
            commanded=commanded,
            gripper=float(values[3]),
            obeyed=int(values[4]),
            resting=bool(values[5]),
            written_s=float(values[1]),
        )
