"""Between connections and the model: requests queue up, one inference thread works them off.

`Batcher` is the seam where requests of several connections can be put together into one call of the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
import contextlib
from dataclasses import dataclass
import queue
import threading
import time
from typing import Any, Protocol, TypeVar

from inspire_fast.core.policy import Policy, RequestOptions
from inspire_fast.core.types import ActionChunk

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One decoded request: the native observation and the options."""

    observation: Mapping[str, Any]
    options: RequestOptions


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the policy answered, and how long it alone took (waiting in the queue excluded)."""

    chunk: ActionChunk
    infer_ms: float


class OverloadedError(Exception):
    """The queue is full; the request was not taken."""


class Batcher(Protocol):
    """Takes requests from the event loop and answers them without ever blocking it."""

    async def start(self) -> None:
        """Called once, in the server's event loop, before the first request."""
        ...

    async def submit(self, request: Request) -> Reply:
        """Answers one request. Cancelling it takes it out of the queue.

        Raises:
            OverloadedError: too many requests are waiting.
            Exception: whatever the policy raised for this request.
        """
        ...

    async def close(self) -> None:
        """Takes no more requests and drops the waiting ones."""
        ...


class InferenceThread:
    """Runs functions one after another in one thread, from the first call on always the same one.

    A daemon, unlike the threads of an executor: an inference that never ends must not keep the process alive.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True, name="policy-inference").start()

    async def call(self, function: Callable[[], T]) -> T:
        """Runs `function` there and returns its result or raises its exception here."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def deliver(result: T | None, error: Exception | None) -> None:
            if future.done():  # cancelled meanwhile: nobody waits any more
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # pyright: ignore[reportArgumentType]

        def work() -> None:
            result, error = None, None
            try:
                result = function()
            except StopIteration as stop:
                # A future refuses it; a policy that replays an iterator raises it.
                error = RuntimeError(f"The policy has run out of data: {stop!r}")
                error.__cause__ = stop
            except Exception as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server gave up waiting
                loop.call_soon_threadsafe(deliver, result, error)

        self._calls.put(work)
        return await future

    def stop(self) -> None:
        """Ends the thread after the call that is running now."""
        self._calls.put(None)

    def _run(self) -> None:
        while (work := self._calls.get()) is not None:
            work()


class SequentialBatcher:
    """One request at a time, in order of arrival."""

    def __init__(self, policy: Policy, *, max_waiting: int = 64) -> None:
        """Takes the policy to ask, and how many requests may wait before further ones are refused."""
        self._policy = policy
        self._waiting: asyncio.Queue[tuple[Request, asyncio.Future[Reply]]] = asyncio.Queue(max_waiting)
        self._worker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts the inference thread."""
        self._worker = asyncio.create_task(self._work(), name="batcher")

    async def submit(self, request: Request) -> Reply:
        """See `Batcher.submit`."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((request, future))
        except asyncio.QueueFull:
            raise OverloadedError(
                f"{self._waiting.maxsize} requests are waiting already; try again later or send fewer at once."
            ) from None
        return await future

    async def _work(self) -> None:
        thread = InferenceThread()
        try:
            while True:
                request, future = await self._waiting.get()
                if future.done():  # its client went away while it waited
                    continue
                try:
                    reply = await thread.call(lambda request=request: self._infer(request))
                except asyncio.CancelledError:
                    future.cancel()
                    raise
                except Exception as error:
                    if not future.done():
                        future.set_exception(error)
                else:
                    if not future.done():
                        future.set_result(reply)
        finally:
            thread.stop()

    def _infer(self, request: Request) -> Reply:
        start = time.perf_counter()
        chunk = self._policy.infer(request.observation, request.options)
        return Reply(chunk=chunk, infer_ms=1e3 * (time.perf_counter() - start))

    async def close(self) -> None:
        """Stops after the inference that is running now; requests that still wait are cancelled."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        while not self._waiting.empty():
            self._waiting.get_nowait()[1].cancel()
