"""Request queue of a policy server: one inference thread answers the requests, several in one call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
import contextlib
from dataclasses import dataclass, field
import logging
import time
from typing import Any

from inspire_fast.core.policy import BatchPolicy, Policy, RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.core.worker import Worker
from inspire_fast.serving.config import ServerConfig

logger = logging.getLogger(__name__)

_PREPARERS = 4
_CLOSING = "The server is shutting down."
_RECENTLY_S = 1.0  # a client that asked within this time is likely to ask again


@dataclass(frozen=True, kw_only=True)
class Request:
    """One decoded request: native observation, options, and the id of its connection."""

    observation: Mapping[str, Any]
    options: RequestOptions
    client: str = ""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The answer to one request.

    Attributes:
        chunk: answer of the policy.
        infer_ms: duration of the policy's call for the whole batch, waiting excluded.
        wait_ms: time from the request's arrival in the queue to the start of its batch.
        rows: requests in the batch.
    """

    chunk: ActionChunk
    infer_ms: float
    wait_ms: float = 0.0
    rows: int = 1


class OverloadedError(Exception):
    """The queue is full; the request was not taken."""


class DeadlineExceededError(Exception):
    """The request's own deadline passed before there was an answer."""


def _passable(raised: BaseException) -> Exception:
    """The exception as a future can carry it.

    A future refuses StopIteration, which a policy that replays an iterator may raise; SystemExit would end the event
    loop.
    """
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    ended = isinstance(raised, StopIteration)
    error = RuntimeError(f"The policy {'has run out of data' if ended else 'tried to end the process'}: {raised!r}")
    error.__cause__ = raised
    return error


def _passably(function: Callable[[], object]) -> None:
    try:
        function()
    except BaseException as error:
        if (passable := _passable(error)) is error:
            raise
        raise passable from error


@dataclass(eq=False, kw_only=True)
class _Waiting:
    """A request in the queue: its input as the policy takes it, and the future for its answer."""

    request: Request
    prepared: Any
    future: asyncio.Future[Reply]
    since: float = field(default_factory=time.perf_counter)


class Batcher:
    """Queue between the connections of a server and its policy.

    A batch takes the requests that arrived while the last one ran. It waits for more, at most `max_wait_s`, only while
    a client that sent a request within the last second has not sent its next one: a single robot never waits. Requests
    are taken in order of arrival and a connection has one at a time, so every client gets its turn however fast another
    one asks. Observations are checked and prepared in other threads during the inference; a bad one never enters a
    batch.

    Args:
        policy: a `BatchPolicy` if batches are larger than 1.
        config: `batch_sizes`, `max_wait_s` and `max_waiting`.

    Raises:
        ValueError: batches larger than 1 for a policy that takes one observation at a time.
    """

    def __init__(self, policy: Policy, config: ServerConfig) -> None:
        self._batches = policy if isinstance(policy, BatchPolicy) else None
        if max(config.batch_sizes) > 1 and self._batches is None:
            raise ValueError(f"{type(policy).__name__} takes one observation at a time; leave batch_sizes at 1.")
        self._policy = policy
        self._config = config
        self._sizes = tuple(sorted(set(config.batch_sizes)))
        self._queue: deque[_Waiting] = deque()
        self._preparing = 0
        self._preparers = ThreadPoolExecutor(_PREPARERS, thread_name_prefix="policy-prepare")
        self._arrived = asyncio.Event()
        self._last_asked: dict[str, float] = {}
        self._closed = False
        self._worker: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Number of requests that no batch has taken yet."""
        return len(self._queue) + self._preparing

    async def start(self, warm_up: Callable[[], object] | None = None) -> None:
        """Runs `warm_up` in the inference thread, then works off requests; those that arrive earlier wait.

        Raises:
            Exception: any error of `warm_up`.
        """
        thread = Worker("policy-inference")
        try:
            if warm_up is not None:
                await asyncio.wrap_future(thread.submit(lambda: _passably(warm_up)))
        except BaseException:
            thread.stop()
            raise
        self._worker = asyncio.create_task(self._work(thread), name="batcher")

    async def submit(self, request: Request) -> Reply:
        """Answers one request without blocking the event loop. Cancelling the call takes the request out of the queue.

        Raises:
            OverloadedError: too many requests are waiting.
            DeadlineExceededError: `options.deadline_s` passed.
            Exception: any error of the policy for this request.
        """
        if self._closed:
            raise OverloadedError(_CLOSING)
        if self.waiting >= self._config.max_waiting:
            raise OverloadedError(
                f"{self._config.max_waiting} requests are waiting already; try again later or send fewer at once."
            )
        seconds = request.options.deadline_s or None
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._answer(request)
        except TimeoutError as error:
            if not limit.expired():  # the policy's own
                raise
            raise DeadlineExceededError(f"No answer within the {seconds:.3g} s that the request allows.") from error

    async def _answer(self, request: Request) -> Reply:
        prepared = None
        if self._batches is not None:
            self._preparing += 1
            try:
                prepared = await asyncio.get_running_loop().run_in_executor(
                    self._preparers, self._batches.prepare, request.observation, request.options
                )
            finally:
                self._preparing -= 1
        if self._closed:  # while the request was prepared
            raise OverloadedError(_CLOSING)
        self._last_asked[request.client] = time.perf_counter()
        entry = _Waiting(request=request, prepared=prepared, future=asyncio.get_running_loop().create_future())
        self._queue.append(entry)
        self._arrived.set()
        try:
            return await entry.future
        finally:
            with contextlib.suppress(ValueError):  # its batch has taken it out of the queue
                self._queue.remove(entry)

    async def _work(self, thread: Worker) -> None:
        try:
            while True:
                batch = await self._gather()
                try:
                    replies = await asyncio.wrap_future(thread.submit(lambda batch=batch: self._infer(batch)))
                except asyncio.CancelledError:
                    for entry in batch:
                        entry.future.cancel()
                    raise
                except Exception as error:  # not the policy's own errors, which come as replies
                    replies = [error] * len(batch)
                for entry, reply in zip(batch, replies, strict=True):
                    if entry.future.done():  # the client left, or the deadline passed
                        continue
                    if isinstance(reply, Exception):
                        entry.future.set_exception(reply)
                    else:
                        entry.future.set_result(reply)
        finally:
            thread.stop()

    async def _gather(self) -> list[_Waiting]:
        """Waits for the next batch."""
        while True:
            while not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            end = time.perf_counter() + self._config.max_wait_s
            while len(self._queue) < self._expected() and (left := end - time.perf_counter()) > 0:
                self._arrived.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(
                        self._arrived.wait(), min(left, _RECENTLY_S / 4)
                    )  # the set of expected clients changes
            if self._queue:  # empty if every client has left or given up by now
                size = max(n for n in self._sizes if n <= len(self._queue))
                return [self._queue.popleft() for _ in range(size)]

    def forget(self, client: str) -> None:
        """Expects no further request of a closed connection."""
        self._last_asked.pop(client, None)

    def _expected(self) -> int:
        """Number of requests that are likely to arrive soon."""
        since = time.perf_counter() - _RECENTLY_S
        self._last_asked = {client: asked for client, asked in self._last_asked.items() if asked > since}
        return min(self._sizes[-1], len(self._last_asked))

    def _infer(self, batch: Sequence[_Waiting]) -> list[Reply | Exception]:
        """One reply or error per request. Runs in the inference thread."""
        start = time.perf_counter()
        try:
            if self._batches is not None:
                chunks = self._batches.infer_prepared([entry.prepared for entry in batch])
            else:
                chunks = [self._policy.infer(entry.request.observation, entry.request.options) for entry in batch]
            if len(chunks) != len(batch):
                raise RuntimeError(f"The policy gave {len(chunks)} chunks for {len(batch)} observations.")
        except BaseException as error:
            if len(batch) == 1:
                return [_passable(error)]
            # One row's error must not fail the others: each request that is still awaited is asked again, alone.
            logger.exception("A batch of %d failed; its requests are answered one by one.", len(batch))
            return [_passable(error) if entry.future.done() else self._infer([entry])[0] for entry in batch]
        infer_ms = 1e3 * (time.perf_counter() - start)
        return [
            Reply(chunk=chunk, infer_ms=infer_ms, wait_ms=1e3 * (start - entry.since), rows=len(batch))
            for entry, chunk in zip(batch, chunks, strict=True)
        ]

    async def close(self) -> None:
        """Refuses new requests and cancels the waiting ones. The result of a running inference is dropped."""
        self._closed = True
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        while self._queue:
            self._queue.popleft().future.cancel()
        self._preparers.shutdown(wait=False, cancel_futures=True)
