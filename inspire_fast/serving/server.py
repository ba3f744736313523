"""Websocket server of a policy: listening, access, health and draining."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
import errno
import http
import ipaddress
import json
import logging
import re
import signal
from typing import Self
from urllib.parse import parse_qs

import websockets.asyncio.server as ws
from websockets.datastructures import Headers
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response as HttpResponse

from inspire_fast.client.codec import pack
from inspire_fast.client.messages import SUBPROTOCOL
from inspire_fast.core.files import write_text
from inspire_fast.core.policy import Policy
from inspire_fast.robots.registry import ROBOTS
from inspire_fast.serving.access import ApiKeys
from inspire_fast.serving.batcher import Batcher
from inspire_fast.serving.config import ServerConfig
from inspire_fast.serving.live import LiveView
from inspire_fast.serving.metrics import CONTENT_TYPE, Metrics
from inspire_fast.serving.session import Observer, Session, SessionSettings
from inspire_fast.serving.steering import Steering

logger = logging.getLogger(__name__)

_SAME_SIGNAL_S = 2.0
STEER_HEADER = "X-Inspire-Steer"


class PolicyServer:
    """Serves one policy to any number of openpi clients.

        PolicyServer(policy, ServerConfig(port=8000)).serve_forever()  # until SIGTERM, SIGHUP or Ctrl-C

        async with PolicyServer(policy) as server:                     # on a free port, `server.port`
            ...

    One inference runs at a time, in a thread of its own. Meanwhile the event loop answers connections and plain HTTP:
    `/healthz` (the process lives), `/readyz` (warmed up, not draining), `/metrics` (Prometheus) and `/live` (with a
    `LiveView` among the observers).

    Args:
        policy: called from one thread at a time.
        config: address, access, limits and batching.
        warm_up: runs in the inference thread before the server is ready, to compile the policy's programs. Requests
            that arrive earlier wait.
        observers: hear of every answered request and are closed with the server: a `recording.Recorder`, a
            `live.LiveView`.

    Raises:
        ValueError: batches larger than 1 for a policy that takes one observation at a time.
    """

    def __init__(
        self,
        policy: Policy,
        config: ServerConfig = ServerConfig(),  # noqa: B008  # frozen
        *,
        warm_up: Callable[[], object] | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.config = config
        self._batcher = Batcher(policy, config)
        self._sessions: set[Session] = set()
        self._metrics = Metrics(waiting=lambda: self._batcher.waiting, connections=lambda: len(self._sessions))
        robot = policy.metadata.get("robot")
        self._settings = SessionSettings(
            config=config,
            metadata_frame=pack(dict(policy.metadata)),
            state_key=ROBOTS[robot].state_key if isinstance(robot, str) and robot in ROBOTS else None,
            metrics=self._metrics,
            observers=tuple(observers),
            steering=next((observer for observer in observers if isinstance(observer, Steering)), None),
        )
        self._live = next((observer for observer in observers if isinstance(observer, LiveView)), None)
        self._keys = ApiKeys(config.api_keys)
        self._warm_up = warm_up
        self._ready = False
        self._server: ws.Server | None = None

    @property
    def port(self) -> int:
        """Port that the server listens on; the configured one before it listens."""
        if self._server is None:
            return self.config.port
        return next(iter(self._server.sockets)).getsockname()[1]

    @property
    def uri(self) -> str:
        """`ws://host:port`, or `wss://`."""
        scheme, host = "ws" if self.config.tls is None else "wss", self.config.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def serve_forever(self) -> None:
        """Serves until SIGTERM, SIGINT or SIGHUP (its terminal closes), then drains and finishes its recordings.

        A second signal, two seconds later, ends the process. A SIGHUP that is ignored (`nohup`) stays so.
        """
        asyncio.run(self._serve_until_signal())

    async def _serve_until_signal(self) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def on_signal(number: signal.Signals) -> None:
            logger.warning("%s: answering open requests, for at most %.0f s.", number.name, self.config.drain_s)
            loop.add_signal_handler(number, lambda: None)  # a launcher may repeat a signal that its child got already
            loop.call_later(_SAME_SIGNAL_S, loop.remove_signal_handler, number)
            if self._ready:
                stop.set()
            else:  # a warm-up can take minutes, and no client waits for an answer yet
                serving.cancel()

        serving = asyncio.create_task(self._serve_until(stop))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            loop.add_signal_handler(number, on_signal, number)
        await asyncio.wait([serving])
        if not serving.cancelled():
            serving.result()

    async def _serve_until(self, stop: asyncio.Event) -> None:
        async with self:
            print(f"Serving on {self.uri}", flush=True)  # noqa: T201
            await stop.wait()

    async def __aenter__(self) -> Self:
        """Listens and warms up; returns when the server is ready."""
        try:
            self._server = await ws.serve(
                self._handle,
                self.config.host,
                self.config.port,
                process_request=self._answer_http,
                origins=self.config.origins,  # pyright: ignore[reportArgumentType]
                ssl=self.config.tls,
                compression=None,  # a few hostile bytes could unpack to gigabytes
                max_size=self.config.max_frame_bytes,
                max_queue=2,
                ping_timeout=self.config.ping_timeout_s,
                # Clients of openpi offer none, and are served without.
                select_subprotocol=lambda _, offered: SUBPROTOCOL if SUBPROTOCOL in offered else None,
                close_timeout=2.0,
            )
            self._announce()
            await self._batcher.start(self._warm_up)
        except OSError as error:
            await self._close()
            if error.errno == errno.EADDRINUSE:
                raise OSError(
                    f"Port {self.config.port} of {self.config.host} is taken, perhaps by another server. Stop that, or "
                    "choose another port (`--port`; 0 takes a free one)."
                ) from error
            raise
        except BaseException:
            await self._close()
            raise
        self._ready = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def _announce(self) -> None:
        address = _address(self.config.host)
        if not (address and address.is_loopback) and not len(self._keys):
            logger.warning("Listening on %s without API keys: anybody can move the robot.", self.config.host)
        if self.config.port_file is not None:
            # A parent that polls for the file must never read half of it.
            write_text(self.config.port_file, f"{self.port}\n")
        logger.info("Listening on %s.", self.uri)

    async def _handle(self, connection: ws.ServerConnection) -> None:
        session = Session(connection, self._batcher, self._settings)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    async def _answer_http(self, connection: ws.ServerConnection, request: HttpRequest) -> HttpResponse | None:
        """Answers plain HTTP; None lets a websocket handshake through."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if path == "/readyz":
            if self._ready:
                return connection.respond(http.HTTPStatus.OK, "OK\n")
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")
        if path == "/live" and self._live is not None:  # the page holds no data; its script asks for the key
            return _document(self._live.page(), "text/html; charset=utf-8")
        # Joined, repeated headers match no key.
        if not self._keys.allow(", ".join(request.headers.get_all("Authorization"))):
            return connection.respond(
                http.HTTPStatus.UNAUTHORIZED, "API key missing or wrong (Authorization: Api-Key <key>).\n"
            )
        if path == "/metrics":
            return _document(self._metrics.text(), CONTENT_TYPE)
        if path in ("/live/state", "/live/steer") and self._live is not None:
            # The host name of a hostile page may resolve to this machine; its browser then sends that name.
            if not len(self._keys) and _address(request.headers.get("Host", "")) is None:
                return connection.respond(http.HTTPStatus.FORBIDDEN, "Without API keys, only by address.\n")
            if path == "/live/steer":
                return self._steer(connection, request)
            return _document(await asyncio.to_thread(self._live.state), "application/json")
        return None

    def _steer(self, connection: ws.ServerConnection, request: HttpRequest) -> HttpResponse:
        """Takes a click of the live page: `/live/steer?connection=...&target=...&y=...&x=...`."""
        if self._settings.steering is None:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "This server takes no clicks (--steer).\n")
        # Other pages in the operator's browser can send requests here, but not with a header of their own.
        if request.headers.get(STEER_HEADER) is None:
            return connection.respond(http.HTTPStatus.FORBIDDEN, f"Clicks come with the header {STEER_HEADER}.\n")
        given = {name: values[-1] for name, values in parse_qs(request.path.partition("?")[2]).items()}
        try:
            place = float(given["y"]), float(given["x"])
            self._settings.steering.click(given["connection"], given["target"], *place)
        except KeyError as error:
            return connection.respond(
                http.HTTPStatus.BAD_REQUEST, f"A click has connection, target, y, x: no {error}.\n"
            )
        except ValueError as error:
            return connection.respond(http.HTTPStatus.BAD_REQUEST, f"{error}\n")
        return _document(
            json.dumps({"target": given["target"], "y": place[0], "x": place[1]}).encode(), "application/json"
        )

    async def _close(self) -> None:
        """Stops listening, lets every session finish its request, then closes the remaining connections."""
        self._ready = False
        if self.config.port_file is not None:
            self.config.port_file.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close(close_connections=False)
            leaving = [asyncio.create_task(session.drain()) for session in self._sessions]
            try:
                await asyncio.wait_for(self._server.wait_closed(), self.config.drain_s)
            except TimeoutError:
                logger.error("Closing %d connections that still wait for an answer.", len(self._sessions))
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


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Address in a `Host` header or of a listening server; None for names other than localhost."""
    name = host.rpartition(":")[0] if re.fullmatch(r"([^:]*|\[.*\]):\d+", host) else host
    try:
        return ipaddress.ip_address("127.0.0.1" if name == "localhost" else name.strip("[]"))
    except ValueError:
        return None
