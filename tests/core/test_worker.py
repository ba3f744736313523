"""Worker thread: order, cancelling, and errors that must not end it."""

from concurrent.futures import CancelledError
import sys
import threading
import time
import weakref

import pytest

from inspire_fast.core.worker import Worker


def test_functions_run_in_order_in_one_thread_and_none_can_end_it() -> None:
    worker, gate, done = Worker("test-worker"), threading.Event(), list[str]()
    first = worker.submit(lambda: gate.wait(30) and done.append(threading.current_thread().name))
    unwanted, exits = worker.submit(lambda: done.append("unwanted")), worker.submit(lambda: sys.exit(3))
    last = worker.submit(lambda: done.append(threading.current_thread().name))
    worker.stop()
    assert unwanted.cancel()
    gate.set()
    last.result(30)
    assert first.done()
    assert done == ["test-worker"] * 2
    with pytest.raises(CancelledError):
        unwanted.result()
    with pytest.raises(SystemExit):
        exits.result()


def test_an_idle_thread_keeps_nothing_of_its_last_call() -> None:
    class Images:
        pass

    worker, images = Worker("test-worker"), Images()
    kept = weakref.ref(images)
    worker.submit(lambda images=images: images).result(30)
    del images
    for _ in range(100):
        if kept() is None:
            break
        time.sleep(0.01)
    assert kept() is None
    worker.stop()
