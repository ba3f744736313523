"""Hostile frames: each gets an error frame, and the server goes on."""

import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
import msgpack
import pytest
import websockets.sync.client

from inspire_fast.client.codec import pack, unpack
from inspire_fast.serving import PolicyServer, serve_in_background
from inspire_fast.serving.testing import PuppetPolicy

ARRAY = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2]}
HOSTILE = {
    "nothing": b"",
    "not msgpack": b"\xc1",
    "truncated": pack({"prompt": "go"})[:-1],
    "two messages": pack({}) * 2,
    "array bomb": b"\xdd\xff\xff\xff\xff" * 100,
    "map bomb": b"\xdf\x7f\xff\xff\xff" * 100,
    "deep": b"\x91" * 5000 + b"\x00",
    "a list": pack([1, 2]),
    "a number": pack(3),
    "binary key": pack({b"prompt": "go"}),
    "object array": msgpack.packb({**ARRAY, b"dtype": "|O"}),
    "short array": msgpack.packb({"x": {**ARRAY, b"shape": [3]}}),
    "huge array": msgpack.packb({"x": {**ARRAY, b"shape": [2**31, 2**31]}}),
    "extension": msgpack.packb({"x": msgpack.ExtType(1, b"abc")}),
    "invalid text": b"\x81\xa1x\xa1\xff",
    "long option": msgpack.packb({"inspire": {"x" * 1_000_000: 1}}),
    "options of a wrong type": pack({"inspire": [1]}),
    "text": "hello",
}


@pytest.fixture(scope="module")
def port():
    with serve_in_background(PolicyServer(PuppetPolicy())) as server:
        yield server.port


@pytest.fixture
def connection(port):
    with websockets.sync.client.connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as connection:
        connection.recv()
        yield connection


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_frames_get_an_error_frame(connection, name, observation):
    connection.send(HOSTILE[name])
    answer = connection.recv(timeout=10)
    assert isinstance(answer, str)
    assert answer.startswith("[inspire_fast ")
    assert len(answer) < 5000
    assert "Traceback" not in answer
    connection.send(pack(observation()))
    assert unpack(connection.recv(timeout=10))["status"] == "ok"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["prompt", "inspire", "observation/state", *ARRAY]), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frame=st.binary(max_size=64) | VALUES.map(msgpack.packb) | st.text(max_size=20))
def test_any_frame_gets_an_error_frame(connection, frame):
    connection.send(frame)
    assert isinstance(connection.recv(timeout=10), str)


def test_a_server_survives_connections_that_break_off(port, connection, observation):
    for _ in range(5):
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(websockets.sync.client.connect(f"ws://127.0.0.1:{port}", compression=None))
            client.recv()
            client.send(pack(observation("sleep 0.05")))
            client.socket.close()  # no goodbye
    connection.send(pack(observation()))
    assert unpack(connection.recv(timeout=10))["status"] == "ok"
