"""Connection to a policy server: connecting while the server starts, and exchanging one request for a response."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass, field
import http
import logging
import os
from pathlib import Path
import random
import socket
import ssl
import threading
import time
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
import websockets.sync.client

from inspire_fast.client.codec import CodecError, unpack
from inspire_fast.client.errors import (
    AccessDeniedError,
    ConnectionLostError,
    ErrorCode,
    PolicyClientError,
    ProtocolError,
    RequestTimeoutError,
    ServerError,
)
from inspire_fast.client.messages import NUMBER_KEY, SUBPROTOCOL

logger = logging.getLogger(__name__)

OnWait = Callable[[float, str], None]
"""Called every few seconds while the client waits for a server: seconds so far, reason of the last failure."""

_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 2.0
_ATTEMPT_S = 10.0
_REPORT_EVERY_S = 5.0


class Deadline:
    """A point in time on the monotonic clock; changes of the wall clock do not move it."""

    def __init__(self, seconds: float) -> None:
        self.total_s = seconds
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was set."""
        return self.total_s - (self._end - time.monotonic())


class ResendError(Exception):
    """Internal: the connection closed before the server took the request, so it can be sent again."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Address of a server and settings of the connection.

    Attributes:
        uri: `ws://host:port` or `wss://...`.
        api_key: sent as `Authorization: Api-Key <key>`.
        max_frame_bytes: largest accepted response.
        ca_file: trusted certificates (PEM) for `wss://`; None trusts the system's.

    Raises:
        ValueError: invalid key or certificates.
    """

    uri: str
    api_key: str | None
    max_frame_bytes: int
    ca_file: Path | None = None
    tls: ssl.SSLContext | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.ca_file is not None and not self.uri.startswith("wss://"):
            raise ValueError(f"ca_file is for wss:// servers; this one is {self.uri}.")
        if self.uri.startswith("wss://"):
            try:
                object.__setattr__(self, "tls", ssl.create_default_context(cafile=self.ca_file))
            except OSError as error:  # SSLError is one too
                raise ValueError(f"{self.ca_file} holds no certificates (PEM): {error}") from error
        key = self.api_key
        if key is not None and (not key.isascii() or not key.isprintable() or not key.strip()):
            raise ValueError("The API key must be printable ASCII on one line; check for a stray line break.")


class Connection:
    """An open connection, with the metadata from its first frame.

    Attributes:
        metadata: of the server.
        numbered: the server returns the number of each request.
        usable: no exchange is open. Whatever leaves an exchange in the middle leaves an unusable connection, since the
            next frame may be the answer to the request that was left.
    """

    def __init__(self, endpoint: Endpoint, deadline: Deadline) -> None:
        headers = {"Authorization": f"Api-Key {endpoint.api_key}"} if endpoint.api_key else None
        self._max_bytes = endpoint.max_frame_bytes
        with contextlib.ExitStack() as stack:
            self._socket = stack.enter_context(
                websockets.sync.client.connect(
                    endpoint.uri,
                    ssl=endpoint.tls,
                    subprotocols=[SUBPROTOCOL],
                    compression=None,
                    max_size=endpoint.max_frame_bytes,
                    additional_headers=headers,
                    open_timeout=min(_ATTEMPT_S, deadline.left_s),
                    close_timeout=1.0,
                    # Pings keep routers from closing an idle connection. A missing pong is no failure, since openpi's
                    # server cannot answer during an inference; the request's deadline limits the wait.
                    ping_interval=20.0,
                    ping_timeout=None,
                    proxy=None,
                )
            )
            self.numbered = self._socket.subprotocol == SUBPROTOCOL
            self.metadata = self._read_metadata(deadline)
            self.usable = True
            self._stack = stack.pop_all()

    def _read_metadata(self, deadline: Deadline) -> dict[str, Any]:
        metadata = self._decode(self._socket.recv(timeout=deadline.left_s))
        if not isinstance(metadata, dict):
            raise ProtocolError(f"The server's first frame must be its metadata; got {type(metadata).__name__}.")
        return metadata

    def exchange(self, frame: bytes, deadline: Deadline, *, number: int | None = None) -> Any:
        """Sends one request and waits for its response. Without a whole response the connection is not `usable` again.

        Args:
            frame: packed request.
            deadline: of the whole exchange.
            number: of the request; None if the connection is not `numbered`.

        Raises:
            PolicyClientError: no response, or an error instead of one.
            ResendError: the connection closed before the server took the request.
        """
        self.usable = False
        sent = False
        try:
            with self._limited(deadline.left_s):
                self._socket.send(frame)
            sent = True
            response = self._decode(self._socket.recv(timeout=deadline.left_s))
        except ServerError as error:
            self.usable = not error.foreign and error.number == number
            raise
        except TimeoutError as error:
            raise RequestTimeoutError(
                f"No answer within {deadline.total_s:.3g} s; the connection was dropped."
            ) from error
        except ConnectionClosed as error:
            raise self._explain(error, sent=sent, deadline=deadline) from error
        if number is not None:
            _require_number(response, number)
        self.usable = True
        return response

    @contextlib.contextmanager
    def _limited(self, seconds: float) -> Iterator[None]:
        """Shuts the socket down after `seconds`: `send` has no timeout, and a hung server takes no data."""
        timer = threading.Timer(seconds, self.cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _explain(self, error: ConnectionClosed, *, sent: bool, deadline: Deadline) -> Exception:
        code = error.rcvd.code if error.rcvd else None
        if code == 1009:
            return ServerError(
                f"The request is larger than the server accepts: {error.rcvd}. Send smaller images (the model sees "
                "224 x 224 of them), uint8 instead of floats, or start the server with a larger --max-frame-mib.",
                code=ErrorCode.FRAME_TOO_LARGE,
            )
        if deadline.left_s <= 0:
            return RequestTimeoutError(f"The server took no data within {deadline.total_s:.3g} s.")
        # 1001 = going away: the server sends it only if no request is open. A failed send never arrived whole.
        if not sent or code == 1001:
            return ResendError()
        return ConnectionLostError(f"The server left before it answered: {error}.")

    def _decode(self, frame: bytes | str) -> Any:
        if isinstance(frame, str):
            raise ServerError.from_frame(frame)
        try:
            return unpack(frame, max_bytes=self._max_bytes)
        except CodecError as error:
            raise ProtocolError(f"Cannot read the server's frame: {error}") from error

    def cut(self) -> None:
        """Ends the connection at once; an exchange that is open in another thread fails."""
        with contextlib.suppress(OSError):  # closed already
            self._socket.socket.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Gives the socket up in a forked process, without a word to the server: the parent still uses it."""
        self.usable = False
        os.close(self._socket.socket.detach())

    def close(self, *, wait: bool) -> None:
        """Closes the connection; with `wait=False` in the background, since a hung server would block the caller."""
        if wait:
            self._stack.close()
        else:
            threading.Thread(target=self._stack.close, daemon=True, name="policy-client-close").start()


def _require_number(response: Any, number: int) -> None:
    got = response.pop(NUMBER_KEY, None) if isinstance(response, dict) else None
    if got != number:
        raise ProtocolError(
            f"The server answered request {got}, not request {number}; the connection was dropped and nothing of the "
            "answer is used."
        )


def open_connection(
    endpoint: Endpoint, deadline: Deadline, on_wait: OnWait | None = None, *, closed: threading.Event | None = None
) -> Connection:
    """Connects; repeats the attempt, with growing pauses, while no server listens.

    Args:
        endpoint: where.
        deadline: of all attempts.
        on_wait: see `OnWait`.
        closed: ends the attempts when it is set.

    Raises:
        ConnectionLostError: no server before the deadline, or `closed`; names the last reason.
        AccessDeniedError: the server refused the API key, or its certificate is not trusted (no further attempt).
        ProtocolError: the address belongs to no policy server (no further attempt).
    """
    closed = closed or threading.Event()
    delay_s = _FIRST_DELAY_S
    next_report_s = _REPORT_EVERY_S
    while True:
        try:
            return Connection(endpoint, deadline)
        except (OSError, InvalidHandshake, ConnectionClosed) as error:
            if fatal := _fatal(error, endpoint.uri):
                raise fatal from error
            why = str(error) or type(error).__name__
            last = error
        # Random, so that many clients do not reconnect in step after a restart.
        pause_s = delay_s * random.uniform(0.5, 1.0)
        if pause_s >= deadline.left_s:
            raise ConnectionLostError(
                f"No policy server at {endpoint.uri} within {deadline.total_s:.3g} s: {why}"
            ) from last
        if deadline.elapsed_s >= next_report_s:
            next_report_s = deadline.elapsed_s + _REPORT_EVERY_S
            (on_wait or _log_wait(endpoint.uri, deadline))(deadline.elapsed_s, why)
        if closed.wait(pause_s):
            raise ConnectionLostError("This client was closed.") from last
        delay_s = min(2 * delay_s, _LONGEST_DELAY_S)


def _log_wait(uri: str, deadline: Deadline) -> OnWait:
    def log(waited_s: float, why: str) -> None:
        logger.warning("Waiting for the policy server at %s: %.0f of %.0f s (%s)", uri, waited_s, deadline.total_s, why)

    return log


def _fatal(error: Exception, uri: str) -> PolicyClientError | None:
    """Error to raise at once; None if another attempt makes sense."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return AccessDeniedError(f"The certificate of {uri} is not trusted: {error.verify_message} (see ca_file).")
    if isinstance(error, ssl.SSLError) and error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return ProtocolError(f"{uri} does not speak TLS: {error}. Is it a ws:// server?")
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
            said = (error.response.body or b"").decode(errors="replace").strip()
            return AccessDeniedError(f"The server at {uri} refused access ({status}): {said}")
        if status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
            return ProtocolError(f"{uri} answers with HTTP {status}; is this a policy server's address?")
        return None
    # A tunnel or proxy whose server is not up yet accepts and hangs up, which reads as an invalid message.
    if isinstance(error, InvalidHandshake) and not isinstance(error, InvalidMessage):
        return ProtocolError(f"{uri} does not speak the websocket protocol: {error}")
    return None
