"""Camera in a process of its own: a driver in pure Python (rospy) would share the control loop's interpreter."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
from dataclasses import dataclass, field
import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
import signal
import time
from typing import Any

import numpy as np

from inspire_fast.robots.cameras.base import Camera, CameraError, Frame

CameraFactory = Callable[[], Camera]
_OPEN_S, _READ_S, _END_S = 10.0, 2.0, 2.0
# Pictures in memory: the newest, and two more that may be written before a reader of the newest has copied it.
_SLOTS = 3


class CameraProcess:
    """See `Camera`: another camera's pictures, by memory that two processes share. Its times are the driver's own.

    Args:
        factory: makes the driver, in the other process; a class or a `functools.partial` (it is pickled).
    """

    def __init__(self, factory: CameraFactory) -> None:
        self._factory = factory
        self._process: Any = None
        self._pipe: Connection | None = None
        self._memory: SharedMemory | None = None
        self._slots = np.empty(0, np.uint8)
        self._written = np.empty(0, np.int64)

    def open(self) -> None:
        """See `Camera`. An error of the driver is the same kind of error here."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(self._factory, theirs), daemon=True, name="camera driver")
        self._process.start()
        theirs.close()
        self._next(_OPEN_S)

    def read(self) -> Frame:
        """See `Camera`. Of pictures that wait only the newest is read."""
        while True:
            number, time_s = self._next(_READ_S)
            assert self._pipe is not None
            while self._pipe.poll():
                number, time_s = self._next(_READ_S)
            image = self._slots[number % _SLOTS].copy()
            if self._written[number % _SLOTS] == number:  # else it was overwritten meanwhile: a newer one is there
                return Frame(image=image, time_s=time_s)

    def close(self) -> None:
        """See `Camera`."""
        pipe, process = self._pipe, self._process
        self._pipe = self._process = None
        if pipe is not None:
            pipe.close()  # the other process ends when it can send no longer
        if process is not None:
            process.join(_END_S)
            if process.is_alive():
                process.kill()
                process.join()
        self._forget()

    def _next(self, wait_s: float) -> tuple[int, float]:
        """Number and time of the next picture; memory that the driver announces is taken on the way."""
        assert self._pipe is not None
        try:
            while self._pipe.poll(wait_s):
                message = self._pipe.recv()
                if isinstance(message, Exception):
                    raise message
                if isinstance(message, _Memory):
                    self._attach(message)
                else:
                    return message
        except (EOFError, OSError) as error:
            if isinstance(error, CameraError):
                raise
            raise CameraError("the camera's process has ended; its message is above") from error
        raise CameraError(f"the camera's process sent nothing for {wait_s:g} s")

    def _attach(self, told: _Memory) -> None:
        self._forget()
        self._memory = SharedMemory(told.name)
        self._memory.unlink()  # no name remains that a killed process could leave behind; the memory itself stays
        self._slots, self._written = told.arrays(self._memory)

    def _forget(self) -> None:
        memory, self._memory = self._memory, None
        self._slots, self._written = np.empty(0, np.uint8), np.empty(0, np.int64)
        if memory is not None:
            memory.close()


@dataclass(frozen=True, kw_only=True)
class _Memory:
    """Where pictures of one shape lie: `_SLOTS` of them, and the number of the picture in each."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return _SLOTS * (int(np.prod(self.shape)) + 8)

    def arrays(self, memory: SharedMemory) -> tuple[np.ndarray, np.ndarray]:
        """Pictures, uint8 `[_SLOTS, *shape]`, and numbers, int64 `[_SLOTS]`."""
        written = np.ndarray((_SLOTS,), np.int64, memory.buf)
        return np.ndarray((_SLOTS, *self.shape), np.uint8, memory.buf, offset=8 * _SLOTS), written


@dataclass
class _Driver:
    """The other process: a camera, and the memory that its pictures go to."""

    camera: Camera
    pipe: Connection
    memories: list[SharedMemory] = field(default_factory=list[SharedMemory])
    shape: tuple[int, ...] = ()
    slots: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))
    written: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def run(self) -> None:
        """Passes pictures on until the other side closes the pipe."""
        self.camera.open()
        self.pipe.send((-1, time.monotonic()))
        number = 0
        while True:
            frame = self.camera.read()
            if frame.image.dtype != np.uint8:
                raise CameraError(f"pictures must be uint8 [h, w, 3]; got {frame.image.dtype} {frame.image.shape}")
            if frame.image.shape != self.shape:
                self._allocate(frame.image.shape)
            slot = number % _SLOTS
            self.written[slot] = -1
            self.slots[slot] = frame.image
            self.written[slot] = number
            self.pipe.send((number, frame.time_s))
            number += 1

    def _allocate(self, shape: tuple[int, ...]) -> None:
        told = _Memory(name="", shape=shape)
        memory = SharedMemory(create=True, size=told.size)
        self.memories.append(memory)  # kept open while arrays point to it
        self.shape = shape
        self.slots, self.written = told.arrays(memory)
        self.pipe.send(_Memory(name=memory.name, shape=shape))


def _main(factory: CameraFactory, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the control loop's, which closes its cameras last
    with contextlib.suppress(BrokenPipeError):
        try:
            camera = factory()
            try:
                _Driver(camera, pipe).run()
            finally:
                camera.close()
        except (CameraError, ImportError, ValueError) as error:
            pipe.send(error)
        except (OSError, RuntimeError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            pipe.send(CameraError(str(error)))
