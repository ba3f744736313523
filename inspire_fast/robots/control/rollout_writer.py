"""Writer of rollouts in a process of its own: compressing pictures would delay the control loop."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
import contextlib
import importlib
import io
import logging
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
import signal
from typing import Any, cast

import numpy as np
from PIL import Image

from inspire_fast.core.worker import Worker

logger = logging.getLogger(__name__)
msgpack: Any = importlib.import_module("msgpack")  # it has no types
_WAITING = 300  # steps that may wait for the disk
_FLUSH_S, _END_S = 60.0, 60.0


class RolloutWriter:
    """Rows and pictures of rollouts, one after the other into their files.

    The process ignores Ctrl-C and writes what it was given when the control loop is gone, also by SIGKILL.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        # Two pipes: what was sent into one can still be read when its sender is gone, unlike with a socket's two ends.
        rows, self._rows = context.Pipe(duplex=False)
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(target=write_rollouts, args=(rows, answers), name="rollout writer")
        self._process.start()
        rows.close()
        answers.close()
        self._worker = Worker("rollout")  # the pipe is narrow, and the control loop does not wait for it
        self._put, self._written, self._error, self._closed = 0, 0, "", False
        atexit.register(self.close)  # before multiprocessing waits for the process at the interpreter's end

    def put(self, kind: str, row: Mapping[str, Any], images: Mapping[str, np.ndarray] | None = None) -> None:
        """Hands a row over and returns.

        Args:
            kind: `begin` (its `path` is the file that the rows after it are added to) or `row`.
            row: what is written.
            images: uint8 `[h, w, 3]` each; written as PNG in `row["images"]`. None: the row has no pictures.

        Raises:
            OSError: writing failed, or the disk is slower than the robot. Nothing is left out in silence.
        """
        self._drain(0.0)
        if self._put - self._written > _WAITING:
            raise OSError(f"The disk is slower than the robot: {self._put - self._written} steps wait to be written.")
        self._put += 1
        self._worker.submit(lambda: self._send((kind, row, images)))

    def flush(self) -> None:
        """Waits until everything is written.

        Raises:
            OSError: writing failed.
        """
        while self._written < self._put:
            before = self._written
            self._drain(_FLUSH_S)
            if self._written == before:
                raise OSError(f"{self._put - before} steps of the rollout were not written within {_FLUSH_S:g} s.")

    def close(self) -> None:
        """Ends the process once it has written everything. A second call does nothing."""
        atexit.unregister(self.close)
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TimeoutError):
            self._worker.submit(self._rows.close).result(_END_S)
            self._process.join(_END_S)
        self._worker.stop()
        if self._process.is_alive():
            logger.error("The process that writes the rollout (%s) did not end; it is killed.", self._process.pid)
            self._process.kill()
            self._process.join()

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # the process has ended; `_drain` finds its last word
            self._rows.send(message)

    def _drain(self, wait_s: float) -> None:
        """Takes what the process says; waits for its first word."""
        try:
            while not self._error and self._answers.poll(wait_s):
                wait_s, answer = 0.0, self._answers.recv()
                if isinstance(answer, str):
                    self._error = answer
                else:
                    self._written = answer
        except (EOFError, OSError):
            self._error = self._error or "the process that writes it has ended"
        if self._error:
            raise OSError(f"The rollout cannot be recorded any more: {self._error}.")


def write_rollouts(rows: Connection, answers: Connection) -> None:
    """The other process: writes rows until nobody sends any more; answers with their number, or an error's text."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    written = 0
    with contextlib.suppress(EOFError, OSError), contextlib.ExitStack() as stack:  # closing a full file fails again
        file: io.BufferedWriter | None = None
        while True:
            kind, row, images = rows.recv()
            answer: int | str
            try:
                if kind == "begin":
                    stack.close()
                    file = stack.enter_context(Path(row["path"]).open("ab"))
                else:
                    assert file is not None  # the recorder begins an episode first
                    pictures = (
                        {"images": {key: _png(image) for key, image in images.items()}} if images is not None else {}
                    )
                    file.write(cast("bytes", msgpack.packb(row | pictures)))
                    file.flush()
                answer = written = written + 1
            except (OSError, ValueError) as error:
                answer = str(error)
            with contextlib.suppress(BrokenPipeError):  # the control loop is gone; what it sent is written all the same
                answers.send(answer)
            if isinstance(answer, str):
                return


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
