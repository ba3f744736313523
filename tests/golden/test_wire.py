"""openpi's wire: recorded messages in both directions, and a recorded session held against our server."""

from __future__ import annotations

import ast
from collections.abc import Iterator
import http.client
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from inspire_fast.client.codec import CodecError, pack, unpack
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import ROBOTS
from inspire_fast.serving import PolicyServer, ServerConfig, serve_in_background
from tests.golden.cases import cases


def entries(pattern: str, key: str) -> list:
    """One parameter per entry of `key` in every file that matches."""
    found = []
    for case in cases(pattern):
        path = case.values[0]
        names = sorted(json.loads(path.read_text(encoding="utf-8"))[key]) if path else [None]
        found += [pytest.param(path, name, id=f"{name}", marks=case.marks) for name in names]
    return found


def build(value: Any) -> Any:
    """The value that a vector describes."""
    if isinstance(value, list):
        return [build(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if value.get("ndarray"):
        return np.frombuffer(bytes.fromhex(value["hex"]), value["dtype"]).reshape(value["shape"])
    if value.get("npgeneric"):
        return np.dtype(value["dtype"]).type(ast.literal_eval(value["value"]))
    return {key: build(entry) for key, entry in value.items()}


def as_read(value: Any) -> Any:
    """What a reader gets: text and float scalars of numpy travel as Python's, which they are subclasses of."""
    if isinstance(value, dict):
        return {key: as_read(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [as_read(entry) for entry in value]
    return {np.str_: str, np.float64: float}.get(type(value), lambda v: v)(value)


def same(left: Any, right: Any) -> bool:
    """Equal in type, shape and every bit."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, (np.ndarray, np.generic)):
        return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())
    return left == right


@pytest.mark.parametrize(("path", "name"), entries("d_wire*/msgpack_vectors.json", "vectors"))
def test_messages(path: Path, name: str) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))["vectors"][name]
    value, packed = build(vector["value"]), bytes.fromhex(vector["hex"])
    assert pack(value) == packed
    read = unpack(packed)
    assert same(read, as_read(value))
    if isinstance(read, np.ndarray):
        assert not read.flags.writeable


@pytest.mark.parametrize(("path", "name"), entries("d_wire*/msgpack_vectors.json", "must_raise"))
def test_what_upstream_cannot_pack_neither_do_we(path: Path, name: str) -> None:
    message = json.loads(path.read_text(encoding="utf-8"))["must_raise"][name]
    kind = message.partition("dtype: ")[2]
    dtype = np.dtype(ast.literal_eval(kind) if kind.startswith("[") else kind)
    with pytest.raises(CodecError, match="Unsupported dtype"):
        pack({"x": np.zeros(2, dtype)})


class Recorded:
    """A policy with the metadata and the reply of the recorded server; a prompt `raise` fails as it did."""

    def __init__(self, transcript: dict[str, Any]) -> None:
        self.metadata = transcript["first_frame"]["decoded"]
        self._shape = transcript["reply_keys_first"]["actions"][1]

    def infer(self, observation: Any, options: RequestOptions | None = None) -> ActionChunk:
        if observation["prompt"] == "raise":
            raise ValueError("boom")
        return ActionChunk(actions=np.zeros(self._shape, np.float32))


TRANSCRIPTS = cases("d_wire*/live_transcript.json", "{0.parent.name}")


@pytest.fixture
def transcript(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(request.param.read_text(encoding="utf-8"))


@pytest.fixture
def server(transcript: dict[str, Any]) -> Iterator[PolicyServer]:
    """Ours, with upstream's errors: a traceback as text, then the close."""
    with serve_in_background(PolicyServer(Recorded(transcript), ServerConfig(openpi_errors=True))) as running:
        yield running


def call(server: PolicyServer, transcript: dict[str, Any]) -> ClientConnection:
    headers = {"Authorization": transcript["request_headers"]["Authorization"]}
    return connect(server.uri, compression=None, max_size=None, additional_headers=headers)


def request_frame(prompt: str) -> bytes:
    return pack({**ROBOTS["libero"].fake_native(image_hw=(8, 8)), "prompt": prompt})


@pytest.mark.parametrize("transcript", TRANSCRIPTS, indirect=True)
def test_a_session(transcript: dict[str, Any], server: PolicyServer) -> None:
    with call(server, transcript) as connection:
        first = connection.recv()
        assert isinstance(first, bytes)
        assert first.hex() == transcript["first_frame"]["hex"]
        assert unpack(first) == transcript["first_frame"]["decoded"] == transcript["client_metadata"]
        replies = []
        for _ in range(2):
            connection.send(request_frame("go"))
            replies.append(unpack(connection.recv()))
    for key, wanted in transcript["reply_keys_first"].items():
        reply = replies[0][key]
        if isinstance(reply, np.ndarray):
            assert [reply.dtype.str, list(reply.shape)] == wanted
        else:
            assert set(wanted) <= set(reply)
    assert list(replies[1]["server_timing"]) == transcript["reply_keys_second_server_timing"]


@pytest.mark.parametrize("transcript", TRANSCRIPTS, indirect=True)
@pytest.mark.parametrize("kind", ["error_frame", "malformed_msgpack", "text_request"])
def test_errors_in_compatibility_mode(transcript: dict[str, Any], server: PolicyServer, kind: str) -> None:
    sent = {"error_frame": request_frame("raise"), "malformed_msgpack": b"\xc1", "text_request": "hello"}[kind]
    with call(server, transcript) as connection:
        connection.recv()
        connection.send(sent)
        answer = connection.recv()
        assert type(answer).__name__ == transcript[kind]["type"]
        assert isinstance(answer, str)
        if kind == "error_frame":
            assert answer.startswith(transcript[kind]["starts"])
            assert answer.rstrip().splitlines()[-1] == transcript[kind]["last_line"]
        with pytest.raises(ConnectionClosed):
            connection.recv()
        assert connection.close_code == transcript["close"]["code"]
        assert connection.close_reason == transcript["close"]["reason"]


@pytest.mark.parametrize("transcript", TRANSCRIPTS, indirect=True)
def test_healthz(transcript: dict[str, Any], server: PolicyServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/healthz")
    response = connection.getresponse()
    assert (response.status, response.read().decode()) == (
        transcript["healthz"]["status"],
        transcript["healthz"]["body"],
    )
    assert response.getheader("Content-Type") == transcript["healthz"]["headers"]["Content-Type"]
    connection.close()
