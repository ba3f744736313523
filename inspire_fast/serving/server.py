"""The websocket server around a policy: listening, access, health, draining."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
import http
import ipaddress
import logging
from pathlib import Path
import signal
import ssl
from typing import Self

import websockets.asyncio.server as ws
from websockets.datastructures import Headers
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response as HttpResponse

from inspire_fast.client.codec import pack
from inspire_fast.core.files import write_text
from inspire_fast.core.policy import Policy
from inspire_fast.robots.registry import ROBOTS
from inspire_fast.serving.access import ApiKeys
from inspire_fast.serving.batcher import Batcher, MicroBatcher
from inspire_fast.serving.live import LiveView
from inspire_fast.serving.metrics import CONTENT_TYPE, Metrics
from inspire_fast.serving.session import Observer, Session, SessionSettings

logger = logging.getLogger(__name__)

_SAME_SIGNAL_S = 2.0
MAX_FRAME_BYTES = 32 * 2**20


class PolicyServer:
    """Serves one policy to any number of openpi clients.

        PolicyServer(policy, port=8000).serve_forever()  # until SIGTERM or Ctrl-C

        async with PolicyServer(policy) as server:       # a free port, told by server.port
            ...

    One inference runs at a time, in its own thread; connections, `/healthz` (the process lives), `/readyz` (warmed
    up, not draining) and `/metrics` (Prometheus) are answered meanwhile.
    """

    def __init__(
        self,
        policy: Policy,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        api_keys: Iterable[str] = (),
        origins: Sequence[str | None] = (None,),
        max_frame_bytes: int = MAX_FRAME_BYTES,
        max_waiting: int = 64,
        warm_up: Callable[[], object] | None = None,
        drain_s: float = 10.0,
        port_file: Path | None = None,
        openpi_errors: bool = False,
        batcher: Batcher | None = None,
        tls: ssl.SSLContext | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        """Prepares a server; nothing listens before it is entered or `serve_forever` is called.

        Args:
            policy: what answers; called from one thread at a time.
            host: address to listen on. Anything but loopback should come with `api_keys`.
            port: 0 takes a free one.
            api_keys: accepted keys (see `access.load_api_keys`); none = everybody who reaches the port.
            origins: accepted `Origin` headers. Web pages send one, robots do not (None): so no web page that someone
                opens in a browser on this machine can talk to the server.
            max_frame_bytes: a larger request closes its connection with code 1009 before it is read.
            max_waiting: requests that may wait before further ones are refused as overloaded.
            warm_up: called before the server says that it is ready, in the inference thread (compiles the policy's programs);
                requests that come before wait.
            drain_s: how long a stopping server waits for the answers that it owes.
            port_file: written with the port once it listens, removed at the end: how a parent process finds it.
            openpi_errors: errors as upstream's server sends them (traceback, then close with 1011).
            batcher: what stands between connections and policy, instead of one request at a time.
            tls: serves `wss://`; see `access.load_tls`.
            observers: told of every answered request and closed with the server: a `recording.Recorder`, a `live.LiveView`
                (then the page is served too).
        """
        self._batcher = batcher or MicroBatcher(policy, max_waiting=max_waiting)
        self._sessions: set[Session] = set()
        self._metrics = Metrics(waiting=lambda: self._batcher.waiting, connections=lambda: len(self._sessions))
        metadata = policy.metadata
        robot = metadata.get("robot")
        self._settings = SessionSettings(
            metadata_frame=pack(dict(metadata)),
            max_frame_bytes=max_frame_bytes,
            state_key=ROBOTS[robot].state_key if isinstance(robot, str) and robot in ROBOTS else None,
            openpi_errors=openpi_errors,
            metrics=self._metrics,
            observers=tuple(observers),
        )
        self._live = next((observer for observer in observers if isinstance(observer, LiveView)), None)
        self._tls = tls
        self._host, self._requested_port = host, port
        self._keys = ApiKeys(api_keys)
        self._origins = origins
        self._warm_up = warm_up
        self._drain_s = drain_s
        self._port_file = port_file
        self._ready = False
        self._server: ws.Server | None = None

    @property
    def port(self) -> int:
        """The port that it listens on (the requested one before it listens)."""
        if self._server is None:
            return self._requested_port
        return next(iter(self._server.sockets)).getsockname()[1]

    @property
    def uri(self) -> str:
        """`ws://host:port`, or `wss://`."""
        scheme = "ws" if self._tls is None else "wss"
        return f"{scheme}://{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"

    def serve_forever(self) -> None:
        """Serves until SIGTERM or SIGINT, then drains; another one, two seconds later or more, ends the process at once."""
        asyncio.run(self._serve_until_signal())

    async def _serve_until_signal(self) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def on_signal(number: signal.Signals) -> None:
            logger.warning("%s: finishing what is owed, up to %.0f s.", number.name, self._drain_s)
            loop.add_signal_handler(number, lambda: None)  # a launcher may pass on what its child got already
            loop.call_later(_SAME_SIGNAL_S, loop.remove_signal_handler, number)
            if self._ready:
                stop.set()
            else:  # a warm-up can take minutes; nothing is owed to anybody yet
                serving.cancel()

        serving = asyncio.create_task(self._serve_until(stop))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        await asyncio.wait([serving])
        if not serving.cancelled():
            serving.result()

    async def _serve_until(self, stop: asyncio.Event) -> None:
        async with self:
            print(f"Serving on {self.uri}", flush=True)  # noqa: T201
            await stop.wait()

    async def __aenter__(self) -> Self:
        """Listens and warms up; returns when ready."""
        try:
            self._server = await ws.serve(
                self._handle,
                self._host,
                self._requested_port,
                process_request=self._answer_http,
                origins=self._origins,  # pyright: ignore[reportArgumentType]
                ssl=self._tls,
                compression=None,  # a few hostile bytes would unpack to gigabytes
                max_size=self._settings.max_frame_bytes,
                max_queue=2,
                close_timeout=2.0,
            )
            self._announce()
            await self._batcher.start(self._warm_up)
        except BaseException:
            await self._close()
            raise
        self._ready = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def _announce(self) -> None:
        if not _is_loopback(self._host) and not len(self._keys):
            logger.warning("Listening on %s without API keys: everybody who reaches it moves the robot.", self._host)
        if self._port_file is not None:
            # Whole or not at all: a parent that polls for the file must never read half of it.
            write_text(self._port_file, f"{self.port}\n")
        logger.info("Listening on %s.", self.uri)

    async def _handle(self, connection: ws.ServerConnection) -> None:
        session = Session(connection, self._batcher, self._settings)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    async def _answer_http(self, connection: ws.ServerConnection, request: HttpRequest) -> HttpResponse | None:
        """Answers plain HTTP; None lets a websocket in."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if path == "/readyz":
            if self._ready:
                return connection.respond(http.HTTPStatus.OK, "OK\n")
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")
        if path == "/live" and self._live is not None:  # holds nothing secret; it asks for the key
            return _document(self._live.page(), "text/html; charset=utf-8")
        # Repeated headers count as one that matches no key.
        if not self._keys.allow(", ".join(request.headers.get_all("Authorization"))):
            return connection.respond(
                http.HTTPStatus.UNAUTHORIZED, "API key missing or wrong (Authorization: Api-Key <key>).\n"
            )
        if path == "/metrics":
            return _document(self._metrics.text(), CONTENT_TYPE)
        if path == "/live/state" and self._live is not None:
            if not len(self._keys) and not _names_an_address(request.headers.get("Host", "")):
                return connection.respond(http.HTTPStatus.FORBIDDEN, "Without API keys, only by address.\n")
            return _document(await asyncio.to_thread(self._live.state), "application/json")
        return None

    async def _close(self) -> None:
        """Stops listening, lets every session finish its request, then closes what is left."""
        self._ready = False
        if self._port_file is not None:
            self._port_file.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close(close_connections=False)
            leaving = [asyncio.create_task(session.drain()) for session in self._sessions]
            try:
                await asyncio.wait_for(self._server.wait_closed(), self._drain_s)
            except TimeoutError:
                logger.error("Closing %d connections without the answers they wait for.", len(self._sessions))
                await asyncio.gather(*(c.close(1001) for c in self._server.connections))
            await asyncio.gather(*leaving)
        await self._batcher.close()
        for observer in self._settings.observers:
            await asyncio.to_thread(observer.close)


def _document(body: bytes, content_type: str) -> HttpResponse:
    headers = {
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; img-src data:; connect-src 'self'; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    }
    return HttpResponse(http.HTTPStatus.OK, "OK", Headers(headers), body)


def _names_an_address(host: str) -> bool:
    """A foreign page whose name was made to point here sends its own name as the host."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
