"""Robotiq's 2F-85 and 2F-140 on a serial line (Modbus RTU), as DROID's arms have them. Needs `pyserial`.

Tested against a simulated device on a pseudo-terminal only, never on the gripper itself.
"""

from __future__ import annotations

from collections.abc import Callable
import struct
import time
from typing import Protocol

_UNIT, _READ, _WRITE = 9, 3, 16  # Modbus: the gripper's address, its functions
_COMMAND, _STATUS = 0x03E8, 0x07D0  # first registers of command and status
_ACTIVATE, _GO_TO = 0x0100, 0x0900
_ACTIVE = 0x31  # activated, and the status says so
_CLOSED = 255


class Line(Protocol):
    """A serial line with a time limit of reading (`serial.Serial`)."""

    def write(self, data: bytes, /) -> int | None:
        """Sends bytes."""
        ...

    def read(self, size: int, /) -> bytes:
        """Returns up to `size` bytes; fewer after its time limit."""
        ...


class Robotiq:
    """See `Hand`.

    Args:
        port: the serial line, e.g. /dev/ttyUSB0.
        speed: 0 .. 255, of the fingers.
        force: 0 .. 255, at which they stop.
        line: opened line; by default opened by pyserial.

    Raises:
        OSError: no gripper answers there.
    """

    def __init__(
        self,
        port: str,
        *,
        speed: int = 128,
        force: int = 64,
        line: Callable[[str], Line] | None = None,
        activation_s: float = 8.0,
    ) -> None:
        self._line = (line or _serial)(port)
        self._speed, self._force = speed, force
        end = time.monotonic() + activation_s
        if self._status()[0] & 0x31 != _ACTIVE:
            self._write([0, 0, 0])
            self._write([_ACTIVATE, 0, 0])
        while self._status()[0] & 0x31 != _ACTIVE:
            if time.monotonic() > end:
                raise OSError(f"The Robotiq gripper at {port} did not finish its activation in {activation_s:g} s.")
            time.sleep(0.1)

    def closed(self) -> float:
        """See `Hand`."""
        return self._status()[4] / _CLOSED

    def move(self, closed: float) -> None:
        """See `Hand`. Returns once the gripper has the command: the fingers can be turned round at any time."""
        place = round(_CLOSED * min(1.0, max(0.0, closed)))
        self._write([_GO_TO, place, self._speed << 8 | self._force])

    def _status(self) -> bytes:
        """Six bytes: activation and object, reserved, fault, requested and real position, current."""
        reply = self._ask(struct.pack(">BBHH", _UNIT, _READ, _STATUS, 3), 5 + 6)
        return reply[3:9]

    def _write(self, registers: list[int]) -> None:
        body = struct.pack(">BBHHB3H", _UNIT, _WRITE, _COMMAND, 3, 6, *registers)
        self._ask(body, 8)

    def _ask(self, body: bytes, size: int) -> bytes:
        self._line.write(body + checksum(body))
        reply = self._line.read(size)
        if len(reply) != size or checksum(reply[:-2]) != reply[-2:] or reply[1] != body[1]:
            raise OSError(f"The Robotiq gripper answered {reply.hex() or 'nothing'}; check cable, power and port.")
        return reply


def checksum(data: bytes) -> bytes:
    """Modbus RTU's CRC-16, low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return struct.pack("<H", value)


def _serial(port: str) -> Line:
    import serial  # pyright: ignore[reportMissingImports]

    return serial.Serial(port, 115_200, timeout=0.2)
