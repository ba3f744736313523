"""Clients of `server_faults.py`: three kinds, their faulty requests, and the allowed outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import contextlib
from dataclasses import dataclass
import random
import socket
import struct
import time
from typing import Any

import numpy as np
import websockets.exceptions
import websockets.sync.client

from benchmarks.faulty_server import LIMIT_BYTES
from inspire_fast.client import (
    ConnectionLostError,
    ErrorCode,
    PolicyClient,
    PolicyClientError,
    RequestTimeoutError,
    ServerError,
)
from inspire_fast.client.codec import pack, unpack
from inspire_fast.core.policy import RequestOptions
from inspire_fast.robots import ROBOTS

DEADLINE_S = 30.0
LOST = "connection lost"
NO_REPLY = "no reply"


class CrossedError(Exception):
    """A reply to another request."""


def observation(value: int, prompt: str = "go", **changes: Any) -> dict[str, Any]:
    """A valid observation with changes; None removes a key."""
    native = {**_NATIVE, "observation/state": np.full(8, _mark(value), np.float32), "prompt": prompt}
    changed = {**native, **{key.replace("__", "/"): entry for key, entry in changes.items()}}
    return {key: entry for key, entry in changed.items() if entry is not None}


_NATIVE = ROBOTS["libero"].fake_native(image_hw=(32, 32))


def _mark(value: int) -> float:
    """The state that marks a request: a number that float32 holds and a robot may measure."""
    return value / 2**20


def read_response(response: Mapping[str, Any], value: int) -> str:
    """Outcome of a response, which must answer the request of that value."""
    if response["status"] == "held":
        return "held"
    if not (response["actions"] == _mark(value)).all() or response["state"][0] != _mark(value):
        raise CrossedError(f"asked {_mark(value)}, got {response['actions'][0, 0]}")
    return "answered"


class Ours:
    """A client of this package."""

    def __init__(self, port: int) -> None:
        self._client = PolicyClient("127.0.0.1", port, connect_timeout_s=DEADLINE_S, request_timeout_s=DEADLINE_S)

    def ask(self, value: int, sent: dict[str, Any], timeout_s: float | None = None, **options: Any) -> str:
        """Sends one request; returns the outcome."""
        request = RequestOptions(**options) if options else None
        return read_response(self._client.request(sent, request, timeout_s=timeout_s), value)

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()


class Upstream:
    """A client of openpi that reconnects after a lost connection (openpi's own does not)."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._client: Any = None

    def ask(self, value: int, sent: dict[str, Any]) -> str:
        """Sends one request; returns the outcome."""
        from openpi_client.websocket_client_policy import WebsocketClientPolicy

        try:
            if self._client is None:
                self._client = WebsocketClientPolicy("127.0.0.1", self._port)
            return read_response(self._client.infer(sent), value)
        except (OSError, websockets.exceptions.WebSocketException):
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            self._client._ws.close()  # noqa: SLF001  # upstream has no other way
            self._client = None


class Bare:
    """A websocket or socket for data that no client would send."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: websockets.sync.client.ClientConnection | None = None
        self._dawdling: list[socket.socket] = []

    def websocket(self) -> websockets.sync.client.ClientConnection:
        """The open connection, or a new one, after its metadata."""
        if self._socket is None:
            self._socket = websockets.sync.client.connect(
                f"ws://127.0.0.1:{self._port}", compression=None, max_size=None, close_timeout=1, proxy=None
            )
            self._socket.recv(timeout=DEADLINE_S)
        return self._socket

    def exchange(self, *frames: Any, values: tuple[int, ...] = ()) -> str:
        """Sends frames, then reads their replies, which must answer the values in order."""
        try:
            connection = self.websocket()
            for frame in frames:
                connection.send(frame)
            outcome = NO_REPLY
            for value in values or (None,) * len(frames):
                outcome = self._outcome(connection.recv(timeout=DEADLINE_S), value)
            return outcome
        except (OSError, websockets.exceptions.WebSocketException):
            self.close()
            raise

    @staticmethod
    def _outcome(reply: bytes | str, value: int | None) -> str:
        if isinstance(reply, str):
            return str(ServerError.from_frame(reply).code)
        response = unpack(reply)
        return response["status"] if value is None else read_response(response, value)

    def abort(self, data: bytes = b"") -> str:
        """Sends raw bytes on the open connection and resets it without closing."""
        raw = self.websocket().socket
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.sendall(data)
        time.sleep(0.01)
        raw.close()
        self.close()
        return "left"

    def claim(self, size: int) -> str:
        """Sends a frame header that announces more bytes than follow."""
        try:
            self.websocket().socket.sendall(frame_header(size) + bytes(100))
            self.websocket().recv(timeout=DEADLINE_S)
        except websockets.exceptions.ConnectionClosed as error:
            self.close()
            return f"closed with {error.rcvd.code}" if error.rcvd else LOST
        return "answered"

    def trickle(self, value: int) -> str:
        """Sends a valid request slowly, a few bytes at a time."""
        frame = pack(observation(value))
        raw, data = self.websocket().socket, frame_header(len(frame)) + frame
        for at in range(0, len(data), 512):
            raw.sendall(data[at : at + 512])
            time.sleep(0.02)
        return self._outcome(self.websocket().recv(timeout=DEADLINE_S), value)

    def half_handshake(self) -> str:
        """Starts a handshake and never finishes it; several are open at a time."""
        raw = socket.create_connection(("127.0.0.1", self._port), timeout=DEADLINE_S)
        raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        self._dawdling.append(raw)
        if len(self._dawdling) > 4:
            self._dawdling.pop(0).close()
        return "left"

    def garbage(self, data: bytes) -> str:
        """Sends bytes that are no handshake: the server must soon hang up or answer with an HTTP error."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=DEADLINE_S) as raw:
            raw.sendall(data)
            try:
                said = raw.recv(4096)
            except ConnectionResetError:
                said = b""
        return said.split(b"\r\n")[0].decode(errors="replace")[:12] or "closed"

    def close(self) -> None:
        """Drops the connection at once."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None
        for raw in self._dawdling:
            raw.close()
        self._dawdling.clear()


def frame_header(size: int) -> bytes:
    """Header of a masked binary frame; the mask is zero, so the bytes stay unchanged."""
    return b"\x82\xff" + struct.pack(">Q", size) + bytes(4)


def malformed(value: int) -> bytes:
    """Frames that no packer would write."""
    good, pick = pack(observation(value)), random.Random(value)
    broken = [
        b"",
        b"\xc1",
        good[: pick.randrange(len(good))],
        good + good,
        b"\xdd\xff\xff\xff\xff" * 100,
        b"\xdf\x7f\xff\xff\xff" * 100,
        b"\x91" * 5000 + b"\x00",
        b"\x81\xa1x\xa1\xff",
        pick.randbytes(pick.randrange(1, 200)) + b"\xc1",
        good.replace(b"<f4", b"|O8"),
        good.replace(b"<f4", b"<f8"),
    ]
    return pick.choice(broken)


def damaged(value: int) -> bytes:
    """A valid request with a few changed bytes."""
    frame, pick = bytearray(pack(observation(value))), random.Random(value)
    for _ in range(pick.choice([1, 3, 10])):
        frame[pick.randrange(len(frame))] = pick.randrange(256)
    return bytes(frame)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of request.

    Attributes:
        do: (client, value) -> outcome.
        expected: outcomes that this kind may have.
        weight: how often it comes, relative to the others of its client.
    """

    do: Callable[[Any, int], str]
    expected: tuple[str, ...]
    weight: float = 1.0


REFUSED, CRASHED = ErrorCode.INVALID_REQUEST.value, ErrorCode.INTERNAL_ERROR.value
MALFORMED, TOO_LARGE = ErrorCode.MALFORMED_FRAME.value, ErrorCode.FRAME_TOO_LARGE.value
GIANT = np.zeros(LIMIT_BYTES + 1000, np.uint8)
COMMON = {
    "valid": Fault(do=lambda c, v: c.ask(v, observation(v)), expected=("answered",), weight=30),
    "NaN": Fault(
        do=lambda c, v: c.ask(v, observation(v, observation__state=np.full(8, np.nan))), expected=(REFUSED,), weight=3
    ),
    "wrong shape": Fault(
        do=lambda c, v: c.ask(v, observation(v, observation__state=np.zeros((2, 8)))), expected=(REFUSED,), weight=2
    ),
    "wrong dtype": Fault(
        do=lambda c, v: c.ask(v, observation(v, observation__image=np.zeros((32, 32, 3), np.int16))),
        expected=(REFUSED,),
        weight=2,
    ),
    "text as numbers": Fault(
        do=lambda c, v: c.ask(v, observation(v, observation__state=np.full(8, "1.0"))), expected=(REFUSED,)
    ),
    "missing key": Fault(
        do=lambda c, v: c.ask(v, observation(v, observation__wrist_image=None)), expected=(REFUSED,), weight=2
    ),
    "prompt no text": Fault(do=lambda c, v: c.ask(v, {**observation(v), "prompt": 3}), expected=(REFUSED,)),
    "policy crashes": Fault(do=lambda c, v: c.ask(v, observation(v, "crash")), expected=(CRASHED,), weight=2),
    "policy holds": Fault(do=lambda c, v: c.ask(v, observation(v, "hold")), expected=("held",), weight=2),
}
SLOW = "sleep 0.1"
OURS = {
    **COMMON,
    "deadline of the request": Fault(
        do=lambda c, v: c.ask(v, observation(v, SLOW), deadline_s=0.04), expected=("deadline_exceeded",), weight=0.5
    ),
    "deadline of the client": Fault(
        do=lambda c, v: c.ask(v, observation(v, SLOW), timeout_s=0.04), expected=("timeout",), weight=0.5
    ),
    "giant frame": Fault(do=lambda c, v: c.ask(v, observation(v, padding=GIANT)), expected=(TOO_LARGE,), weight=0.5),
}
UPSTREAM = {
    **COMMON,
    "unknown option": Fault(
        do=lambda c, v: c.ask(v, observation(v, inspire={"tempo": 1})), expected=(REFUSED,), weight=2
    ),
    "wrong option": Fault(do=lambda c, v: c.ask(v, observation(v, inspire={"seed": -1})), expected=(REFUSED,)),
    "giant frame": Fault(
        do=lambda c, v: c.ask(v, observation(v, padding=GIANT)), expected=("closed with 1009",), weight=0.5
    ),
}
BARE = {
    "valid": Fault(do=lambda c, v: c.exchange(pack(observation(v)), values=(v,)), expected=("answered",), weight=10),
    "pipelined": Fault(
        do=lambda c, v: c.exchange(pack(observation(v)), pack(observation(v + 1)), values=(v, v + 1)),
        expected=("answered",),
        weight=3,
    ),
    "fragmented": Fault(
        do=lambda c, v: c.exchange(_cut(pack(observation(v))), values=(v,)),
        expected=("answered",),
        weight=2,
    ),
    "malformed msgpack": Fault(do=lambda c, v: c.exchange(malformed(v)), expected=(MALFORMED,), weight=10),
    "damaged frame": Fault(
        do=lambda c, v: c.exchange(damaged(v)), expected=(MALFORMED, REFUSED, "ok", "held"), weight=5
    ),
    "text frame": Fault(do=lambda c, _: c.exchange("hello"), expected=(MALFORMED,), weight=2),
    "not a request": Fault(do=lambda c, v: c.exchange(pack([v])), expected=(REFUSED,), weight=2),
    "giant claim": Fault(do=lambda c, v: c.claim(2 ** (22 + v % 41)), expected=("closed with 1009",)),
    "leaves in mid-frame": Fault(
        do=lambda c, v: c.abort(frame_header(5000) + bytes(v % 4999)), expected=("left",), weight=2
    ),
    "leaves in mid-request": Fault(
        do=lambda c, v: c.abort(frame_header(len(f := pack(observation(v, "sleep 0.02")))) + f),
        expected=("left",),
        weight=2,
    ),
    "leaves at once": Fault(do=lambda c, _: c.abort(), expected=("left",), weight=1),
    "byte by byte": Fault(do=lambda c, v: c.trickle(v), expected=("answered",), weight=0.5),
    "half handshake": Fault(do=lambda c, _: c.half_handshake(), expected=("left",), weight=2),
    "no handshake": Fault(
        do=lambda c, v: c.garbage(random.Random(v).randbytes(50) + b"\r\n\r\n"),
        expected=("closed", "HTTP/1.1 400", "HTTP/1.1 431"),
        weight=2,
    ),
}
KINDS: list[tuple[type, dict[str, Fault]]] = [(Ours, OURS), (Upstream, UPSTREAM), (Bare, BARE)]
HARMLESS = ("valid", "pipelined", "fragmented")


def _cut(frame: bytes) -> list[bytes]:
    return [frame[at : at + 2000] for at in range(0, len(frame), 2000)]


def outcome_of(do: Callable[[Any, int], str], client: Any, value: int) -> str:
    """Runs one request; names its outcome."""
    try:
        return do(client, value)
    except CrossedError as error:
        return f"crossed: {error}"
    except ServerError as error:
        return str(error.code)
    except RequestTimeoutError:
        return "timeout"
    except (ConnectionLostError, websockets.exceptions.InvalidMessage):
        return LOST
    except websockets.exceptions.ConnectionClosed as error:
        return f"closed with {error.rcvd.code}" if error.rcvd and error.rcvd.code == 1009 else LOST
    except TimeoutError:
        return NO_REPLY
    except (OSError, PolicyClientError) as error:
        return LOST if isinstance(error, OSError) else f"untyped {type(error).__name__}: {error}"
    except RuntimeError as error:
        said, _, frame = str(error).partition("\n")
        known = said == "Error in inference server:"
        return str(ServerError.from_frame(frame).code) if known else f"untyped RuntimeError: {error}"
    except Exception as error:
        return f"untyped {type(error).__name__}: {error}"
