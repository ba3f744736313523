"""Session of one client: the server's metadata, then requests and responses, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
import logging
import secrets
import time
import traceback
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from inspire_fast.client.codec import CodecError, pack, unpack
from inspire_fast.client.errors import ErrorCode, format_error
from inspire_fast.client.messages import NUMBER_KEY, chunk_to_wire, request_from_wire, request_number
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.serving.batcher import Batcher, DeadlineExceededError, OverloadedError, Reply, Request
from inspire_fast.serving.config import ServerConfig
from inspire_fast.serving.metrics import Metrics
from inspire_fast.serving.steering import Steering

logger = logging.getLogger(__name__)

_MESSAGE_CHARACTERS = 4000  # a message may quote what the client sent, which may be megabytes
_UPSTREAM_CLOSE_REASON = "Internal server error. Traceback included in previous frame."


class Observer(Protocol):
    """Hears of every answered request, in the event loop: returns at once and raises nothing."""

    def record(self, session: str, observation: Mapping[str, Any], options: RequestOptions, chunk: ActionChunk) -> None:
        """Called after a request of the connection `session` was answered."""
        ...

    def end(self, session: str) -> None:
        """Called after the connection was closed."""
        ...

    def close(self) -> None:
        """Called in a thread when the server has ended; may block."""
        ...


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """State shared by all connections of one server.

    Attributes:
        config: of the server.
        metadata_frame: packed metadata of the policy.
        state_key: native key of the state, echoed in the response; None if the policy names no known robot.
        metrics: counters and timers.
        observers: hear of every answered request.
        steering: puts clicks into requests; None without.
    """

    config: ServerConfig
    metadata_frame: bytes
    state_key: str | None
    metrics: Metrics
    observers: tuple[Observer, ...] = ()
    steering: Steering | None = None


class RefusedError(Exception):
    """The request cannot be answered. The client hears why and may send the next one."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class ClientGoneError(Exception):
    """The client left before its request was answered."""


class Session:
    """Answers one client until it leaves or the server drains."""

    def __init__(self, connection: ServerConnection, batcher: Batcher, settings: SessionSettings) -> None:
        self._connection = connection
        self._batcher = batcher
        self._settings = settings
        self._idle = True
        self._draining = False
        self._total_ms: float | None = None
        self._number: int | None = None  # of the open request, if its client numbers them

    async def run(self) -> None:
        """Serves the connection until either side closes it."""
        gone = asyncio.create_task(self._connection.wait_closed())
        try:
            await self._connection.send(self._settings.metadata_frame)
            async for frame in self._connection:
                self._idle = False
                await self._serve(frame, gone)
                self._idle = True
                if self._draining:
                    await self._leave()
        except ClientGoneError:
            self._settings.metrics.lost()
            logger.info("Client %s left before its answer.", self._connection.remote_address)
        except ConnectionClosed:
            logger.info("Client %s left.", self._connection.remote_address)
        finally:
            gone.cancel()
            self._batcher.forget(str(self._connection.id))
            for observer in self._settings.observers:
                observer.end(str(self._connection.id))

    async def drain(self) -> None:
        """Closes the connection as soon as no request on it is open."""
        self._draining = True
        if self._idle:
            await self._leave()

    async def _leave(self) -> None:
        await self._connection.close(1001, "The server is shutting down.")

    async def _serve(self, frame: bytes | str, gone: asyncio.Task[None]) -> None:
        start = time.perf_counter()
        self._number = None
        try:
            request, reply, response = await self._answer(frame, gone)
        except (ClientGoneError, ConnectionClosed):
            raise
        except Exception as error:
            await self._report(error)
        else:
            try:
                await self._connection.send(response)
            except ConnectionClosed as error:
                raise ClientGoneError from error
            seconds = time.perf_counter() - start
            self._total_ms = 1e3 * seconds
            self._settings.metrics.answered(reply, seconds)
            for observer in self._settings.observers:
                observer.record(request.client, request.observation, request.options, reply.chunk)

    async def _answer(self, frame: bytes | str, gone: asyncio.Task[None]) -> tuple[Request, Reply, bytes]:
        request = self._read(frame)
        reply = await self._ask(request, gone)
        if not isinstance(reply.chunk, ActionChunk):
            raise TypeError(f"The policy must return an ActionChunk; got {type(reply.chunk).__name__}.")
        server_timing = {"infer_ms": reply.infer_ms}
        if self._total_ms is not None:
            server_timing["prev_total_ms"] = self._total_ms
        state = request.observation.get(self._settings.state_key) if self._settings.state_key else None
        response = chunk_to_wire(reply.chunk, state=state, server_timing=server_timing)
        response["policy_timing"] = {"infer_ms": reply.infer_ms, "wait_ms": reply.wait_ms, **response["policy_timing"]}
        if self._number is not None:
            response[NUMBER_KEY] = self._number
        return request, reply, pack(response)

    def _read(self, frame: bytes | str) -> Request:
        if isinstance(frame, str):
            raise RefusedError(ErrorCode.MALFORMED_FRAME, "A request is a binary msgpack frame; this was a text frame.")
        try:
            decoded = unpack(frame, max_bytes=self._settings.config.max_frame_bytes)
        except CodecError as error:
            raise RefusedError(ErrorCode.MALFORMED_FRAME, str(error)) from error
        try:
            self._number = request_number(decoded)
            observation, options = request_from_wire(decoded)
        except ValueError as error:
            raise RefusedError(ErrorCode.INVALID_REQUEST, str(error)) from error
        if self._settings.steering is not None:
            options = self._settings.steering.applied(str(self._connection.id), observation, options)
        if not options.episode:  # what is remembered then belongs to the connection, whatever its client calls it
            options = replace(options, session=f"{self._connection.id}/{options.session}")
        return Request(observation=observation, options=options, client=str(self._connection.id))

    async def _ask(self, request: Request, gone: asyncio.Task[None]) -> Reply:
        asked = asyncio.ensure_future(self._batcher.submit(request))
        try:
            await asyncio.wait([asked, gone], return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise ClientGoneError
            return asked.result()
        except OverloadedError as error:
            raise RefusedError(ErrorCode.OVERLOADED, str(error)) from error
        except DeadlineExceededError as error:
            raise RefusedError(ErrorCode.DEADLINE_EXCEEDED, str(error)) from error
        except ValueError as error:
            # `Policy.infer` raises it for an observation that breaks the contract.
            raise RefusedError(ErrorCode.INVALID_REQUEST, str(error)) from error
        finally:
            asked.cancel()

    async def _report(self, error: Exception) -> None:
        """Sends the error to the client. Details of a fault of the server stay in its log, under the error's id."""
        error_id = secrets.token_hex(4)
        self._settings.metrics.failed(error.code if isinstance(error, RefusedError) else ErrorCode.INTERNAL_ERROR)
        if isinstance(error, RefusedError):
            message = str(error)[:_MESSAGE_CHARACTERS]
            cause = error if logger.isEnabledFor(logging.DEBUG) else None
            logger.warning("Refused a request (%s, id %s): %s", error.code, error_id, message, exc_info=cause)
            text = format_error(error.code, error_id, message, number=self._number)
        else:
            logger.error("A request failed (id %s).", error_id, exc_info=error)
            text = format_error(
                ErrorCode.INTERNAL_ERROR,
                error_id,
                f"The server failed with a {type(error).__name__}; its log has the details.",
                number=self._number,
            )
        if self._settings.config.openpi_errors:
            # The error of the policy or the codec, without our wrapping.
            shown = error.__cause__ if isinstance(error, RefusedError) and error.__cause__ else error
            await self._connection.send("".join(traceback.format_exception(shown)))
            await self._connection.close(1011, _UPSTREAM_CLOSE_REASON)
        else:
            await self._connection.send(text)
