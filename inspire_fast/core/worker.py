"""Worker thread: runs functions one after another in the background."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
import queue
import threading
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs functions one after another, always in the same thread.

    The thread is a daemon, unlike the threads of an executor: a function that never ends must not keep the process
    alive.

    Args:
        name: name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True, name=name).start()

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Queues a function. A function that has not started yet can be cancelled."""
        future: Future[T] = Future()
        self._calls.put((function, future))
        return future

    def stop(self) -> None:
        """Ends the thread after the functions that are queued."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            _call(*call)
            del call  # an idle thread must not keep the last function's arguments and result


def _call(function: Callable[[], Any], future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:  # also SystemExit: it must not end the thread
        future.set_exception(error)
