"""Process that drives an arm: the stream of targets runs there, undisturbed by the control loop, and outlives it.

The process ignores Ctrl-C. When the control loop ends in whatever way, also by SIGKILL, the arm brakes, holds, and is
given back to its own controller; when the control loop hangs, the arm holds until it goes on.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
import contextlib
from dataclasses import dataclass, field
import logging
import multiprocessing
from multiprocessing.connection import Connection
import os
import signal
import sys
import time
from typing import Any

import numpy as np

from inspire_fast.robots.arms.base import Arm, ArmError, ArmModel
from inspire_fast.robots.arms.limits import MotionLimits
from inspire_fast.robots.arms.shared import ArmStatus, SharedStatus
from inspire_fast.robots.arms.stop_channel import StopChannel, folder
from inspire_fast.robots.arms.stream import ArmStream, Mode, StreamConfig
from inspire_fast.robots.arms.watch import ArmWatch, watch_arm

logger = logging.getLogger(__name__)
ArmFactory = Callable[[], Arm]

_CONNECT_S, _END_S, _REST_S, _SILENT_S = 30.0, 10.0, 3.0, 0.5


class ArmProcess:
    """An arm in a process of its own, from the control loop's side.

    Attributes:
        model: what the arm says of itself.
        sent: commands sent so far; compare with `ArmStatus.obeyed`.
        report: cadence of the stream, once it has ended.

    Args:
        factory: makes the driver, in the other process; a class or a `functools.partial` (it is pickled).
        joints: of the arm.
        config: of the stream.
        name: for the emergency stop's list.

    Raises:
        ArmError: the arm cannot be reached, or the emergency stop cannot reach it.
    """

    def __init__(
        self, factory: ArmFactory, *, joints: int, config: StreamConfig | None = None, name: str = "arm"
    ) -> None:
        folder()  # an arm without an emergency stop is not taken under control
        context = multiprocessing.get_context("spawn")
        memory = SharedStatus.allocate(joints)
        self._status, self.report = SharedStatus(memory), dict[str, float]()
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_main, args=(factory, config or StreamConfig(), name, theirs, memory), name=f"{name} driver"
        )
        self._process.start()
        theirs.close()
        self._fault, self._closed, self.sent = "", False, 0
        atexit.register(self.close)  # before multiprocessing waits for the process at the interpreter's end
        try:
            self.model: ArmModel = self._answer("model", _CONNECT_S)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """The process."""
        return self._process.pid

    def watch(self, seconds: float) -> ArmWatch:
        """Reads the arm for some seconds at the stream's rate, and moves nothing; before `begin` only.

        Raises:
            ArmError: it cannot be read.
        """
        self._send("watch", seconds)
        return self._answer("watched", seconds + _CONNECT_S)

    def begin(self, limits: MotionLimits) -> None:
        """Takes control of the arm where it stands.

        Raises:
            ArmError: it does not give control, or stands beyond the limits.
        """
        self._send("begin", limits)
        self._answer("begun", _CONNECT_S)

    def follow(self, target: np.ndarray, duration_s: float) -> None:
        """See `ArmStream.follow`; raises as `status` does."""
        self.status()
        self._send("follow", np.array(target, np.float64), float(duration_s))

    def hold(self, reason: str) -> None:
        """The arm brakes and holds; raises as `status` does."""
        self.status()
        self._send("hold", reason)

    def move_gripper(self, closed: float) -> None:
        """Starts to move the gripper, 0 open .. 1 closed."""
        self._send("gripper", float(closed))

    def stop(self, reason: str) -> None:
        """The arm brakes and takes no further target from this process."""
        self._send("stop", reason)

    def status(self) -> ArmStatus:
        """The arm at the stream's last tick.

        Raises:
            ArmError: stopped, failed, not begun, or the driver's process has ended or hangs.
        """
        self._drain()
        if self._fault:
            raise ArmError(self._fault)
        try:
            status = self._status.read()
        except TimeoutError as error:
            raise ArmError(str(error)) from error
        if status is None:
            raise ArmError("The arm is not under control yet; call `begin`.")
        if (silent_s := time.monotonic() - status.written_s) > _SILENT_S:
            raise ArmError(f"The process that drives the arm has said nothing for {silent_s:.2f} s.")
        return status

    def close(self) -> None:
        """Brings the arm to rest, gives it back and ends the process. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        with contextlib.suppress(ArmError):
            self._send("end")
        end = time.monotonic() + _END_S
        while self._process.is_alive() and time.monotonic() < end:
            self._drain()
            self._process.join(0.05)
        self._drain()
        self._pipe.close()
        if self._process.is_alive():
            logger.error("The process that drives the arm (%s) did not end; it is killed.", self._process.pid)
            self._process.kill()
            self._process.join()

    def _send(self, kind: str, *values: Any) -> None:
        try:
            self._pipe.send((kind, *values))
            self.sent += 1
        except (OSError, ValueError) as error:
            self._drain()
            raise ArmError(self._fault or "The process that drives the arm has ended.") from error

    def _drain(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while self._pipe.poll():
                self._take(*self._pipe.recv())
            return
        self._fault = self._fault or "The process that drives the arm has ended without a word."

    def _take(self, kind: str, value: Any) -> None:
        if kind == "fault":
            self._fault = self._fault or value
        elif kind == "report":
            self.report = value

    def _answer(self, wanted: str, wait_s: float) -> Any:
        end = time.monotonic() + wait_s
        with contextlib.suppress(OSError, EOFError):
            while self._pipe.poll(max(0.0, end - time.monotonic())):
                kind, value = self._pipe.recv()
                if kind == wanted:
                    return value
                self._take(kind, value)
                if self._fault:
                    raise ArmError(self._fault)
            raise ArmError(f"The arm's driver did not answer within {wait_s:g} s.")
        raise ArmError(self._fault or "The process that drives the arm has ended; its message is above.")


@dataclass
class _Driver:
    """The other process: an arm, its stream, and who commands it."""

    arm: Arm
    config: StreamConfig
    pipe: Connection
    channel: StopChannel
    shared: SharedStatus
    stream: ArmStream | None = None
    ending: bool = False
    end_s: float = 0.0
    obeyed: int = 0
    released: bool = False
    told: Mode = Mode.IDLE
    waiting: list[str] = field(default_factory=list[str])  # senders of a stop, to be told when the arm rests
    periods_s: list[float] = field(default_factory=list[float])

    def run(self) -> None:
        """Ticks at the stream's rate until the end."""
        period_s = 1.0 / self.config.rate_hz
        due = before = time.monotonic()
        while not self._finished():
            self._obey()
            now = time.monotonic()
            if self.stream is not None:
                self.periods_s.append(now - before)
                self.stream.tick(now)
                self.shared.write(self.stream, self.obeyed)
                self._tell()
                self._release_after_fault(self.stream)
            before, due = now, max(due + period_s, now)  # missed ticks are not made up for
            time.sleep(max(0.0, due - time.monotonic()))

    def _finished(self) -> bool:
        if not self.ending or self.stream is None:
            return self.ending
        too_long = time.monotonic() > self.end_s + _REST_S  # the driver's own `end` brings it to rest, too
        return self.stream.mode == Mode.FAULTED or self.stream.resting or too_long

    def _obey(self) -> None:
        if (stop := self.channel.requested()) is not None:
            reason, sender = stop
            self.waiting.append(sender)
            if self.stream is not None:
                self.stream.stop(reason, time.monotonic())
        try:
            while self.pipe.poll():
                self._command(*self.pipe.recv())
        except (EOFError, OSError):
            self.end("the control loop has ended")

    def _command(self, kind: str, *values: Any) -> None:
        now = time.monotonic()
        self.obeyed += 1
        if kind == "end":
            self.end("the control loop gives the arm back")
        elif kind == "begin":
            self.stream = ArmStream(self.arm, values[0], self.config, now_s=now)
            self.shared.write(self.stream, self.obeyed)
            self.pipe.send(("begun", None))
        elif kind == "watch" and self.stream is None:
            self.pipe.send(("watched", watch_arm(self.arm, values[0], self.config.rate_hz)))
        elif self.stream is not None:
            commands = {
                "follow": lambda: self.stream and self.stream.follow(values[0], values[1], now),
                "hold": lambda: self.stream and self.stream.hold(values[0], now),
                "stop": lambda: self.stream and self.stream.stop(values[0], now),
                "gripper": lambda: self.stream and self.stream.move_gripper(values[0]),
            }
            commands[kind]()

    def end(self, reason: str) -> None:
        """Brakes; `run` returns when the arm rests."""
        if not self.ending and self.stream is not None:
            self.stream.stop(reason, time.monotonic())
            self.told, self.end_s = self.stream.mode, time.monotonic()
        self.ending = True

    def _release_after_fault(self, stream: ArmStream) -> None:
        """Gives a faulted arm back, once it has been told: that may take seconds."""
        if stream.mode == Mode.FAULTED and not self.released:
            self.released = True
            try:
                self.arm.end()
            except ArmError as error:
                logger.error("The arm could not be told to stop: %s", error)

    def _tell(self) -> None:
        stream = self.stream
        assert stream is not None
        if stream.mode >= Mode.STOPPED and self.told < stream.mode:
            self.told = stream.mode
            word = "stopped" if stream.mode == Mode.STOPPED else "faulted"
            with contextlib.suppress(OSError):  # the control loop may be gone
                self.pipe.send(("fault", f"The arm has {word}: {stream.reason}"))
        if self.waiting and (stream.resting or stream.mode == Mode.FAULTED):
            answer = f"faulted: {stream.reason}" if stream.mode == Mode.FAULTED else "rests"
            for sender in self.waiting:
                self.channel.tell(sender, answer)
            self.waiting.clear()

    def terminated(self, number: int, frame: object) -> None:
        """Handler of SIGTERM."""
        del number, frame
        self.end("the process that drives it was told to end")

    def report(self) -> dict[str, float]:
        """Cadence of the stream: `ticks` and its `period_ms`."""
        periods_ms = 1e3 * np.array(self.periods_s[1:] or [0.0])
        return {
            "ticks": float(len(self.periods_s)),
            "period_ms_mean": float(periods_ms.mean()),
            "period_ms_p99": float(np.percentile(periods_ms, 99)),
            "period_ms_max": float(periods_ms.max()),
        }


def _main(factory: ArmFactory, config: StreamConfig, name: str, pipe: Connection, memory: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.setsid()  # a terminal that closes, and whoever kills the loop's group, does not reach the arm
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    arm, channel = factory(), StopChannel(name)
    driver = _Driver(arm, config, pipe, channel, SharedStatus(memory))
    signal.signal(signal.SIGTERM, driver.terminated)
    try:
        pipe.send(("model", arm.connect()))
        driver.run()
    except (ArmError, ValueError) as error:
        _send_last(pipe, "fault", str(error))
    finally:
        try:
            arm.end()
        except ArmError as error:
            _send_last(pipe, "fault", str(error))
        arm.close()
        _send_last(pipe, "report", driver.report())
        channel.close()


def _send_last(pipe: Connection, kind: str, value: Any) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        pipe.send((kind, value))
