"""Client of a policy server, ours or openpi's, with the interface of a local policy (`core.policy.Policy`)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
import dataclasses
from pathlib import Path
import threading
import time
from typing import Any, Self

from inspire_fast.client.codec import MAX_FRAME_BYTES, pack
from inspire_fast.client.connection import Connection, Deadline, Endpoint, OnWait, ResendError, open_connection
from inspire_fast.client.errors import (
    ConnectionLostError,
    ErrorCode,
    PolicyClientError,
    RequestTimeoutError,
    ServerError,
)
from inspire_fast.client.messages import chunk_from_wire, request_to_wire
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.core.worker import Worker


class PolicyClient:
    """Client of a policy server, with the interface of a local policy.

    Example:
        >>> import inspire_fast as ifa
        >>> with ifa.PolicyClient("127.0.0.1", port) as policy:
        ...     chunk = policy.infer(ifa.ROBOTS["libero"].fake_native())  # images, state and prompt
        >>> chunk.actions.shape  # [t, a]
        (10, 7)

    Connecting waits for a server that is still starting. If the connection was lost between two requests, the next one
    opens it again. A request whose answer was lost raises `ConnectionLostError`, because its observation is old by
    then. Safe to use from several threads; requests go out one at a time.

    Args:
        host: name or address, or a whole `ws://` / `wss://` address.
        port: may be part of `host` instead.
        api_key: sent as `Authorization: Api-Key <key>`.
        connect_timeout_s: longest wait for a server that does not answer yet.
        request_timeout_s: default deadline of a request; includes reconnecting. The first request to a server without
            warm-up waits for its compilation.
        max_frame_bytes: largest accepted response.
        ca_file: trusted certificates (PEM) for a `wss://` server; None trusts the system's.
        on_wait: called every few seconds of waiting with (seconds so far, reason); by default logs a warning.

    Raises:
        ConnectionLostError: no server within `connect_timeout_s`.
        AccessDeniedError: API key missing or wrong, or a certificate that is not trusted.
        ProtocolError: the address belongs to no policy server.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        api_key: str | None = None,
        *,
        connect_timeout_s: float = 300.0,
        request_timeout_s: float = 120.0,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        ca_file: Path | None = None,
        on_wait: OnWait | None = None,
    ) -> None:
        uri = host if host.startswith(("ws://", "wss://")) else f"ws://{host}"
        self._endpoint = Endpoint(
            uri=uri if port is None else f"{uri}:{port}",
            api_key=api_key,
            max_frame_bytes=max_frame_bytes,
            ca_file=ca_file,
        )
        self._request_timeout_s = request_timeout_s
        self._on_wait = on_wait
        self._lock = threading.Lock()
        self._worker_lock = threading.Lock()
        self._worker: Worker | None = None
        self._closed = False
        self._connection: Connection | None = open_connection(self._endpoint, Deadline(connect_timeout_s), on_wait)
        self._metadata = self._connection.metadata

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Metadata of the server, from the latest connection."""
        return self._metadata

    def infer(
        self,
        observation: Mapping[str, Any],
        options: RequestOptions | None = None,
        *,
        timeout_s: float | None = None,
    ) -> ActionChunk:
        """One observation -> one chunk. It may be held: check `chunk.status` before using `chunk.actions`.

        Args:
            observation: native observation, as on openpi's wire.
            options: request options; openpi's servers ignore them.
            timeout_s: deadline of this request.

        Returns:
            The chunk; `timing_ms` also has `server_infer_ms` and `round_trip_ms`.

        Raises:
            ServerError: the server answered with an error; `code` tells its kind.
            RequestTimeoutError: no answer by the deadline.
            ConnectionLostError: the server is unreachable, or left before it answered.
            ProtocolError: the response is invalid.
        """
        start = time.perf_counter()
        chunk = chunk_from_wire(self.request(observation, options, timeout_s=timeout_s))
        round_trip_ms = 1e3 * (time.perf_counter() - start)
        return dataclasses.replace(chunk, timing_ms={**chunk.timing_ms, "round_trip_ms": round_trip_ms})

    def infer_async(
        self,
        observation: Mapping[str, Any],
        options: RequestOptions | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Future[ActionChunk]:
        """Like `infer`, but returns at once, so that a robot can execute one chunk while the server makes the next.

        Requests go out in the order of the calls, one at a time; the deadline runs from the call. The future of a
        request that has not gone out yet can be cancelled. The observation's arrays must not change until the future is
        done.

        Raises:
            ConnectionLostError: this client was closed.
        """
        deadline = Deadline(self._request_timeout_s if timeout_s is None else timeout_s)
        with self._worker_lock:
            if self._closed:
                raise ConnectionLostError("This client was closed.")
            self._worker = self._worker or Worker("policy-client")
            return self._worker.submit(lambda: self.infer(observation, options, timeout_s=deadline.left_s))

    def request(
        self,
        observation: Mapping[str, Any],
        options: RequestOptions | None = None,
        *,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Like `infer`, but returns the response of the wire."""
        frame = pack(request_to_wire(observation, options))
        deadline = Deadline(self._request_timeout_s if timeout_s is None else timeout_s)
        if not self._lock.acquire(timeout=deadline.left_s):
            raise RequestTimeoutError(f"Other requests of this client took all of {deadline.total_s:.3g} s.")
        try:
            if deadline.left_s <= 0:  # not sent yet, so the connection is still good
                raise RequestTimeoutError(f"Other requests of this client took all of {deadline.total_s:.3g} s.")
            return self._exchange(frame, deadline)
        finally:
            self._lock.release()

    def _exchange(self, frame: bytes, deadline: Deadline) -> dict[str, Any]:
        if self._closed:
            raise ConnectionLostError("This client was closed.")
        for _ in range(2):
            if self._connection is None:
                self._connection = open_connection(self._endpoint, deadline, self._on_wait)
                self._metadata = self._connection.metadata
            try:
                return self._connection.exchange(frame, deadline)
            except ResendError:
                self._drop()
            except ServerError as error:
                if error.foreign or error.code == ErrorCode.FRAME_TOO_LARGE:
                    self._drop()
                raise
            except PolicyClientError:
                self._drop()
                raise
        raise ConnectionLostError("The server closed two connections in a row without taking the request.")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close(wait=False)
            self._connection = None

    def close(self) -> None:
        """Closes the connection after the request that is on it. A second call does nothing."""
        self._closed = True  # requests that wait for the lock are no longer sent
        with self._worker_lock:
            if self._worker is not None:  # queued requests still run, and raise that the client was closed
                self._worker.stop()
                self._worker = None
        with self._lock:
            if self._connection is not None:
                self._connection.close(wait=True)
                self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
