"""Recorder of a policy server: requests and answers as LeRobot datasets, within limits of disk and memory.

<directory>/<time>-<number>/   a finished dataset; `LeRobotDataset` opens it, `list_segments` lists them

An episode holds the requests of one connection (or one robot of it) under one instruction and one episode mark; a very
long one is continued as another episode. `recording.frames` lists the columns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
import logging
import math
from pathlib import Path
import queue
import threading
import time
from typing import Any

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import Robot
from inspire_fast.serving.recording.frames import Exchange, FrameFormat, OpenEpisode, nbytes
from inspire_fast.serving.recording.segments import RecordingLimits, RefusedEpisodeError, Segments

logger = logging.getLogger(__name__)

_REPORT_EVERY_S = 10.0
_EPISODE_FRAMES = 1000
_SESSIONS = 1024  # whose requests are counted; beyond, the count of the least recent one starts again


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """A closed connection; None if nothing happened for a while."""

    session: str | None


@dataclass(kw_only=True)
class _Losses:
    """Counter of dropped requests, which reports to the log every ten seconds at most."""

    total: int = 0
    reported: int = 0
    reported_s: float = -math.inf
    reason: str = ""

    def add(self, requests: int, reason: str) -> None:
        self.total, self.reason = self.total + requests, reason
        if time.monotonic() - self.reported_s >= _REPORT_EVERY_S:
            self.report()

    def report(self) -> None:
        if (new := self.total - self.reported) > 0:
            logger.warning(
                "Recording: %d requests were dropped (%d in all); the last: %s.", new, self.total, self.reason
            )
            self.reported, self.reported_s = self.total, time.monotonic()


class Recorder:
    """Takes exchanges from the event loop without blocking it, and writes them in a thread of its own.

        recorder = Recorder(directory, robot=ROBOTS["libero"], horizon=10)
        recorder.record(connection_id, observation, options, chunk)  # after every answer
        recorder.end(connection_id)                                  # when the connection was closed
        recorder.close()                                             # writes the last episodes

    Requests that arrive faster than they can be written are dropped, and the log tells their number. If writing fails
    (a full disk), recording stops with one error in the log, and later calls return at once. A killed process loses the
    open dataset and the unwritten requests, and nothing else.

    Args:
        directory: parent of the datasets; one process at a time records there.
        robot: robot of the observations.
        horizon: largest number of actions in a chunk.
        limits: limits of disk and memory.
        default_prompt: instruction of requests without one.

    Raises:
        FileExistsError: another process records there.
        OSError: the directory cannot be written.
    """

    def __init__(
        self,
        directory: Path,
        *,
        robot: Robot,
        horizon: int,
        limits: RecordingLimits | None = None,
        default_prompt: str = "",
    ) -> None:
        self._limits = limits = limits or RecordingLimits()
        self._format = FrameFormat(robot=robot, horizon=horizon, default_prompt=default_prompt)
        # Clients send requests at any time (`time_s`). This is the rate of a client that executes whole chunks.
        fps = max(1, round(robot.control_hz / horizon))
        self._segments = Segments(directory, limits, fps=fps, robot_type=robot.name)
        self._calls: queue.SimpleQueue[Exchange | _Ended | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards the attributes down to `_running`
        self._waiting = self._waiting_bytes = 0
        self._requests: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._too_fast, self._unfit, self._recorded = _Losses(), _Losses(), 0
        self._running = True
        self._episodes: dict[tuple[str, str], OpenEpisode] = {}  # used by the thread alone
        self._thread = threading.Thread(target=self._run, daemon=True, name="recorder")
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Requests that were not recorded so far."""
        return self._too_fast.total + self._unfit.total

    @property
    def recorded(self) -> int:
        """Requests that are in a dataset, finished or open."""
        return self._recorded

    @property
    def running(self) -> bool:
        """False after `close`, and after a failure."""
        return self._running

    def record(self, session: str, observation: Mapping[str, Any], options: RequestOptions, chunk: ActionChunk) -> None:
        """Queues one answered request. Returns at once and raises nothing.

        Args:
            session: id of the connection. `options.session` distinguishes robots that share it.
            observation: native, as on the wire; its arrays must not change any more.
            options: options of the request.
            chunk: answer.
        """
        with self._lock:
            if not self._running:
                return
            key = (session, options.session)
            request = self._requests[key] = self._requests.get(key, -1) + 1
            self._requests.move_to_end(key)
            while len(self._requests) > _SESSIONS:
                self._requests.popitem(last=False)
            try:
                relevant = self._format.relevant(observation)
            except ValueError as error:
                self._unfit.add(1, f"session {session}: {error}")
                return
            exchange = Exchange(
                session=session, request=request, observation=relevant, options=options, chunk=chunk, time_s=time.time()
            )
            size, limits = exchange.nbytes, self._limits
            if self._waiting >= limits.max_waiting or self._waiting_bytes + size > limits.max_memory_bytes:
                self._too_fast.add(1, "they arrive faster than they can be written")
                return
            self._waiting += 1
            self._waiting_bytes += size
            self._calls.put(exchange)

    def end(self, session: str) -> None:
        """Ends the episodes of a closed connection. Returns at once."""
        with self._lock:
            for key in [key for key in self._requests if key[0] == session]:
                del self._requests[key]
            if self._running:
                self._calls.put(_Ended(session=session))

    def close(self, timeout_s: float = 60.0) -> None:
        """Writes the queue and finishes the dataset. Blocks: an event loop should call it in a thread.

        Args:
            timeout_s: longest wait; the log tells if requests were lost after it.
        """
        with self._lock:
            self._running = False
            self._calls.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.error("Recording: gave up after %.0f s; the unwritten requests are lost.", timeout_s)
        with self._lock:
            self._too_fast.report()
            self._unfit.report()

    def _run(self) -> None:
        try:
            while (call := self._next()) is not None:
                if isinstance(call, Exchange):
                    self._add(call)
                else:
                    self._write([key for key in self._episodes if key[0] == call.session])
                self._segments.finish_old()
            self._write(list(self._episodes))
            self._segments.close()
        except Exception:
            # A full disk, as a rule. In any case the server goes on without recording.
            with self._lock:
                self._running = False
                self._calls = queue.SimpleQueue()
                unwritten = self._waiting + sum(len(episode.rows) for episode in self._episodes.values())
                self._waiting = self._waiting_bytes = 0
            self._episodes.clear()
            abandoned = self._segments.abandon()
            self._recorded -= abandoned
            lost = unwritten + abandoned
            logger.exception("Recording has stopped; the server goes on without it. %d requests are lost.", lost)

    def _next(self) -> Exchange | _Ended | None:
        try:
            return self._calls.get(timeout=min(1.0, self._limits.segment_s))
        except queue.Empty:
            return _Ended(session=None)

    def _add(self, exchange: Exchange) -> None:
        with self._lock:
            self._waiting -= 1
            self._waiting_bytes -= exchange.nbytes
        key = (exchange.session, exchange.options.session)
        try:
            row, task = self._format.row(exchange), self._format.task(exchange)
            episode = OpenEpisode(
                task=task,
                mark=exchange.options.episode,
                features=self._format.features(row),
                rows=[row],
                nbytes=nbytes(row),
            )
        except ValueError as error:
            with self._lock:
                self._unfit.add(1, f"session {exchange.session}: {error}")
        else:
            self._append(key, episode)

    def _append(self, key: tuple[str, str], new: OpenEpisode) -> None:
        """Adds rows to the session's episode, or begins another one if they do not fit it."""
        begun = self._episodes.get(key)
        if begun is not None and not begun.extend(new):
            self._write([key])
            begun = None
        episode = self._episodes[key] = begun or new
        if episode.nbytes >= self._limits.episode_bytes or len(episode.rows) >= _EPISODE_FRAMES:
            self._write([key])
        if sum(episode.nbytes for episode in self._episodes.values()) > self._limits.max_memory_bytes:
            self._write([max(self._episodes, key=lambda key: self._episodes[key].nbytes)])

    def _write(self, keys: list[tuple[str, str]]) -> None:
        for key in keys:
            episode = self._episodes[key]
            try:
                self._segments.add(episode)
            except RefusedEpisodeError as error:
                with self._lock:
                    self._unfit.add(len(episode.rows), f"session {key[0]}: {error}")
            else:
                self._recorded += len(episode.rows)
            del self._episodes[key]
