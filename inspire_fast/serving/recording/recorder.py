"""Recording what a policy server was asked and what it answered, as LeRobot datasets that stay within their bounds.

<directory>/<time>-<number>/   a finished dataset; `LeRobotDataset` opens it, `list_segments` lists them

An episode is what one connection (or one robot of it) asked under one instruction; a very long one is continued in the next.
Columns: see `recording_frames`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
import logging
from pathlib import Path
import queue
import threading
import time
from typing import Any

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import Robot
from inspire_fast.serving.recording.frames import Exchange, FrameFormat, OpenEpisode, nbytes
from inspire_fast.serving.recording.segments import RefusedEpisodeError, Segments

logger = logging.getLogger(__name__)

_MIN_BYTES = 1 << 20
_REPORT_EVERY_S = 10.0
_EPISODE_FRAMES = 1000
_SESSIONS = 1024  # whose requests are counted; the longest silent begins anew


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """A connection was closed; with None nothing happened for a while."""

    session: str | None


@dataclass(frozen=True, kw_only=True)
class RecordingLimits:
    """How much disk and memory recording may take.

    Attributes:
        max_bytes: on disk, of all finished datasets and the open one.
        segment_s: a dataset is finished when it was begun so long ago, or takes an eighth of `max_bytes`.
        max_waiting: requests that wait to be recorded; further ones are dropped, and counted.
        max_memory_bytes: of those that wait, and again of the episodes that are not written yet; the longest episode is
            written, and continued, when they are more.
    """

    max_bytes: int = 10 << 30
    segment_s: float = 600.0
    max_waiting: int = 1024
    max_memory_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        if self.max_bytes < _MIN_BYTES or self.max_waiting < 1 or self.max_memory_bytes < 1 or self.segment_s <= 0:
            raise ValueError(f"A recording needs max_bytes >= {_MIN_BYTES} and limits above 0; got {self}.")

    @property
    def segment_bytes(self) -> int:
        """A dataset that is as large is finished."""
        return self.max_bytes // 8

    @property
    def episode_bytes(self) -> int:
        """An episode whose values are as large is written, and continued in the next."""
        return min(self.max_bytes // 16, self.max_memory_bytes // 4)


class Recorder:
    """Takes exchanges from the event loop without ever waiting, and writes them in a thread of its own.

        recorder = Recorder(directory, robot=ROBOTS["libero"], horizon=10)
        recorder.record(connection_id, observation, options, chunk)  # for every answer
        recorder.end(connection_id)                                  # the connection was closed
        recorder.close()                                             # the last episodes are written

    What comes faster than it can be written is dropped; the log says how much. When writing fails (a full disk), recording
    stops with one error in the log, and every later call returns at once. A process that is killed loses what the open
    dataset holds and what was not written yet, and no other.

    Args:
        directory: of the datasets; one process at a time records there.
        robot: whose observations they are.
        horizon: actions in the policy's chunks, at most.
        limits: on disk and memory.
        default_prompt: the instruction of requests that bring none.

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
        self._segments = Segments(
            directory,
            max_bytes=limits.max_bytes,
            segment_bytes=limits.segment_bytes,
            segment_s=limits.segment_s,
            # Requests come when clients please; `time_s` tells. This is the rate of one that executes whole chunks.
            fps=max(1, round(robot.control_hz / horizon)),
            robot_type=robot.name,
        )
        self._calls: queue.SimpleQueue[Exchange | _Ended | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards what follows
        self._waiting = self._waiting_bytes = 0
        self._requests: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._dropped = self._dropped_reported = self._recorded = 0
        self._reported_s = self._left_out_s = -_REPORT_EVERY_S
        self._left_out = 0
        self._running = True
        self._episodes: dict[tuple[str, str], OpenEpisode] = {}  # the thread's alone
        self._thread = threading.Thread(target=self._run, daemon=True, name="recorder")
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Requests that were not recorded so far."""
        return self._dropped

    @property
    def recorded(self) -> int:
        """Requests that are in a dataset, finished or open."""
        return self._recorded

    @property
    def running(self) -> bool:
        """False after `close`, and after a failure."""
        return self._running

    def record(self, session: str, observation: Mapping[str, Any], options: RequestOptions, chunk: ActionChunk) -> None:
        """Takes one answered request. Returns at once, and raises nothing.

        Args:
            session: of the connection. Robots that share one are told apart by `options.session`.
            observation: native, as on the wire; its arrays must not be changed any more.
            options: what was asked for.
            chunk: what was answered.
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
                self._leave_out(session, 1, error)
                return
            exchange = Exchange(
                session=session, request=request, observation=relevant, options=options, chunk=chunk, time_s=time.time()
            )
            size, limits = exchange.nbytes, self._limits
            if self._waiting >= limits.max_waiting or self._waiting_bytes + size > limits.max_memory_bytes:
                self._dropped += 1
                self._report_dropped()
                return
            self._waiting += 1
            self._waiting_bytes += size
            self._calls.put(exchange)

    def end(self, session: str) -> None:
        """The connection was closed: its episodes end. Returns at once."""
        with self._lock:
            for key in [key for key in self._requests if key[0] == session]:
                del self._requests[key]
            if self._running:
                self._calls.put(_Ended(session=session))

    def close(self, timeout_s: float = 60.0) -> None:
        """Writes what is waiting and finishes the dataset. Blocks: an event loop calls it in a thread.

        Args:
            timeout_s: after so long, what is not written yet is given up, and the log says so.
        """
        with self._lock:
            self._running = False
            self._calls.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.error("Recording: gave up after %.0f s; what was not written yet is lost.", timeout_s)
        with self._lock:
            self._report_dropped(last=True)
            if self._left_out:
                logger.warning("Recording: %d more requests were left out.", self._left_out)
                self._left_out = 0

    def _report_dropped(self, *, last: bool = False) -> None:
        new = self._dropped - self._dropped_reported
        if new and (last or time.monotonic() - self._reported_s >= _REPORT_EVERY_S):
            logger.warning(
                "Recording: %d requests were not recorded, %d in all: they came faster than they can be written.",
                new,
                self._dropped,
            )
            self._dropped_reported, self._reported_s = self._dropped, time.monotonic()

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
            # A full disk most of the time; whatever it is, the server serves on.
            with self._lock:
                self._running = False
                self._calls = queue.SimpleQueue()
                unwritten = self._waiting + sum(len(episode.rows) for episode in self._episodes.values())
                self._waiting = self._waiting_bytes = 0
            self._episodes.clear()
            abandoned = self._segments.abandon()
            self._recorded -= abandoned
            lost = unwritten + abandoned
            logger.exception("Recording has stopped, and the server goes on without; %d requests are lost.", lost)

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
            episode = OpenEpisode(task=task, features=self._format.features(row), rows=[row], nbytes=nbytes(row))
        except ValueError as error:
            with self._lock:
                self._leave_out(exchange.session, 1, error)
        else:
            self._append(key, episode)

    def _append(self, key: tuple[str, str], new: OpenEpisode) -> None:
        """Adds to the session's episode, or begins another where it does not fit that one."""
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
                    self._leave_out(key[0], len(episode.rows), error)
            else:
                self._recorded += len(episode.rows)
            del self._episodes[key]

    def _leave_out(self, session: str, requests: int, error: Exception) -> None:
        """Counts requests that cannot be recorded, and says why."""
        self._dropped += requests
        self._dropped_reported += requests
        self._left_out += requests
        if time.monotonic() - self._left_out_s >= _REPORT_EVERY_S:
            logger.warning(
                "Recording: %d requests are left out; the last, of session %s: %s", self._left_out, session, error
            )
            self._left_out, self._left_out_s = 0, time.monotonic()
