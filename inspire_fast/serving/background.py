"""Policy server in a thread of this process, for notebooks, evaluation and tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
import contextlib
import threading

from inspire_fast.serving.server import PolicyServer


@contextlib.contextmanager
def serve_in_background(server: PolicyServer) -> Iterator[PolicyServer]:
    """Serves while the block runs, then drains. `server.port` is valid inside the block.

    Raises:
        Exception: any error that kept the server from starting.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with server:
            started.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name="policy-server", daemon=True)
    thread.start()
    loop, stop = started.result()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
