"""Client of a policy server, ours or openpi's, with the interface of a local policy (`core.policy.Policy`)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
import dataclasses
import itertools
import logging
import os
from pathlib import Path
import threading
import time
from typing import Any, Self

from inspire_fast.client.address import server_uri
from inspire_fast.client.codec import MAX_FRAME_BYTES, pack
from inspire_fast.client.connection import Connection, Deadline, Endpoint, OnWait, ResendError, open_connection
from inspire_fast.client.errors import ConnectionLostError, PolicyChangedError, RequestTimeoutError
from inspire_fast.client.messages import chunk_from_wire, request_to_wire
from inspire_fast.core.episode import EpisodeMark, current_episode
from inspire_fast.core.policy import RequestOptions, policy_name
from inspire_fast.core.types import ActionChunk
from inspire_fast.core.worker import Worker

logger = logging.getLogger(__name__)

_CLOSED = "This client was closed."


class PolicyClient:
    """Client of a policy server, with the interface of a local policy.

    Example:
        >>> import inspire_fast as ifa
        >>> with ifa.PolicyClient("127.0.0.1", port) as policy:
        ...     chunk = policy.infer(ifa.ROBOTS["libero"].fake_native())  # images, state and prompt
        >>> chunk.actions.shape  # [t, a]
        (10, 7)

    Connecting waits for a server that is still starting. If the connection was lost between two requests, the next one
    opens it again, provided that the server still has the same metadata. A request whose answer was lost raises
    `ConnectionLostError`, because its observation is old by then. Whatever interrupts a request, its answer never
    reaches a later one: requests are numbered (openpi's servers know no numbers), and the connection of an interrupted
    one is dropped. Safe to use from several threads; requests go out one at a time. A forked process gets a connection
    and episodes of its own.

    What a policy remembers between requests belongs to an episode, not to a connection: the control loop's, or else
    the client's own until `reset`.

    Args:
        host: name or address (IPv6, too), or a whole `ws://` / `wss://` address.
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
        ValueError: it cannot be an address at all.
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
        self._endpoint = Endpoint(
            uri=server_uri(host, port), api_key=api_key, max_frame_bytes=max_frame_bytes, ca_file=ca_file
        )
        self._request_timeout_s = request_timeout_s
        self._on_wait = on_wait
        self._numbers = itertools.count(1)
        self._begin_in_this_process()
        self._connection: Connection | None = open_connection(self._endpoint, Deadline(connect_timeout_s), on_wait)
        self._metadata = self._connection.metadata

    def _begin_in_this_process(self) -> None:
        """Sets what no two processes can share: locks, the worker thread, the episodes."""
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._worker_lock = threading.Lock()
        self._worker: Worker | None = None
        self._closed = threading.Event()
        self._episodes: dict[str, EpisodeMark] = {}

    def _leave_parent(self) -> None:
        """After a fork, gives up the parent's connection, on which the answers of both processes would mix."""
        if self._process == os.getpid():
            return
        closed = self._closed.is_set()
        self._begin_in_this_process()
        if closed:
            self._closed.set()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Metadata of the server. They stay the same: a server that comes back with others is refused."""
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
            PolicyChangedError: the server came back with another policy.
            ProtocolError: the response is invalid.
        """
        return self._infer(observation, options, current_episode(), self._deadline(timeout_s))

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
        self._leave_parent()
        deadline = self._deadline(timeout_s)
        running = current_episode()  # the worker's thread knows of none
        with self._worker_lock:
            if self._closed.is_set():
                raise ConnectionLostError(_CLOSED)
            self._worker = self._worker or Worker("policy-client")
            return self._worker.submit(lambda: self._infer(observation, options, running, deadline))

    def request(
        self,
        observation: Mapping[str, Any],
        options: RequestOptions | None = None,
        *,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Like `infer`, but returns the response of the wire."""
        return self._request(observation, options, current_episode(), self._deadline(timeout_s))

    def reset(self) -> None:
        """Begins a new episode: nothing that the policy remembers of earlier requests affects later ones.

        `run_episode` does so for every episode by itself.
        """
        self._episodes = {}

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self._request_timeout_s if timeout_s is None else timeout_s)

    def _infer(
        self,
        observation: Mapping[str, Any],
        options: RequestOptions | None,
        running: EpisodeMark | None,
        deadline: Deadline,
    ) -> ActionChunk:
        start = time.perf_counter()
        chunk = chunk_from_wire(self._request(observation, options, running, deadline))
        round_trip_ms = 1e3 * (time.perf_counter() - start)
        return dataclasses.replace(chunk, timing_ms={**chunk.timing_ms, "round_trip_ms": round_trip_ms})

    def _request(
        self,
        observation: Mapping[str, Any],
        options: RequestOptions | None,
        running: EpisodeMark | None,
        deadline: Deadline,
    ) -> dict[str, Any]:
        """Waits for this client's other requests, then exchanges one in the `running` episode, or the client's own."""
        self._leave_parent()
        options = options or RequestOptions()
        if running is not None:
            running.check(self._metadata)
        acquired = self._lock.acquire(timeout=deadline.left_s)
        try:
            if not acquired or deadline.left_s <= 0:  # not sent yet, so the connection is still good
                raise RequestTimeoutError(f"Other requests of this client took all of {deadline.total_s:.3g} s.")
            mark = running or self._episodes.setdefault(options.session, EpisodeMark())
            response = self._exchange(observation, mark.on(options), deadline)
            if running is None and not options.episode:  # a control loop counts its chunks itself
                mark.chunks += 1
            return response
        finally:
            if acquired:
                self._lock.release()

    def _exchange(self, observation: Mapping[str, Any], options: RequestOptions, deadline: Deadline) -> dict[str, Any]:
        for _ in range(2):
            connection = self._usable_connection(deadline)
            number = next(self._numbers) if connection.numbered else None
            sent = options if connection.numbered else dataclasses.replace(options, episode="", chunks=0)
            frame = pack(request_to_wire(observation, sent, number=number))
            try:
                return connection.exchange(frame, deadline, number=number)
            except ResendError:
                continue
            except ConnectionLostError as error:
                raise ConnectionLostError(_CLOSED) if self._closed.is_set() else error from None
            finally:
                if not connection.usable:  # whatever the reason, Ctrl-C included
                    self._drop()
        raise ConnectionLostError("The server closed two connections in a row without taking the request.")

    def _usable_connection(self, deadline: Deadline) -> Connection:
        if self._connection is not None and not self._connection.usable:
            self._drop()
        if self._connection is None and not self._closed.is_set():
            connection = open_connection(self._endpoint, deadline, self._on_wait, closed=self._closed)
            self._require_same_policy(connection)
            self._connection = connection
        if self._connection is None or self._closed.is_set():  # `close` may not have seen a new connection
            self._drop()
            raise ConnectionLostError(_CLOSED)
        return self._connection

    def _require_same_policy(self, connection: Connection) -> None:
        if changes := _changes(self._metadata, connection.metadata):
            connection.close(wait=False)
            raise PolicyChangedError(
                f"The server at {self._endpoint.uri} came back with another policy; nothing was asked of it. Open a "
                "new client if it is the one you want.\n  " + "\n  ".join(changes)
            )
        if policy_name(connection.metadata) is None:
            logger.warning(
                "Connected again to %s. Its metadata name no checkpoint: it may serve another policy by now.",
                self._endpoint.uri,
            )

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(wait=False)

    def close(self) -> None:
        """Closes the connection at once; a request that is still open raises `ConnectionLostError`.

        A second call does nothing.
        """
        self._leave_parent()
        self._closed.set()
        with self._worker_lock:
            if self._worker is not None:  # queued requests still run, and raise that the client was closed
                self._worker.stop()
                self._worker = None
        if self._lock.acquire(blocking=False):
            try:
                if self._connection is not None:
                    self._connection.close(wait=True)
                    self._connection = None
            finally:
                self._lock.release()
        elif (connection := self._connection) is not None:
            connection.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Entries of the metadata that differ, one line each. Packed, because metadata may hold arrays."""
    return [
        f"{key}: {before.get(key)!r:.80} then, {now.get(key)!r:.80} now"
        for key in {**before, **now}
        if pack(before.get(key)) != pack(now.get(key))
    ]
