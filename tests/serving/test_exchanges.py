"""A reply belongs to a request by its number, and an exchange left in the middle takes its connection along."""

import contextlib
import json
import os
import signal
import threading
import time

import numpy as np
import pytest
import websockets.sync.client
import websockets.sync.server

from inspire_fast.client import ConnectionLostError, PolicyClient, ServerError
from inspire_fast.client.codec import pack, unpack
from inspire_fast.client.errors import ProtocolError
from inspire_fast.client.messages import SUBPROTOCOL
from inspire_fast.core.episode import EpisodeMark, in_new_episode
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import ROBOTS
from inspire_fast.serving.testing import PuppetPolicy


class StopEpisode(BaseException):
    """What a robot's emergency-stop handler may raise."""


def stop(*_):
    raise StopEpisode


def asked(client, observation, *values):
    return [float(client.infer(observation(value=value)).actions[0, 0]) for value in values]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1], ids=["Ctrl-C", "a handler's exception"])
def test_what_interrupts_a_request_never_shifts_later_answers(serve, connect, observation, gate, number):
    client = connect(serve().port)
    before = {signal.SIGUSR1: signal.signal(signal.SIGUSR1, stop)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(
            target=lambda: (
                gate.wait_until_reached(),
                time.sleep(0.1),  # the client waits by now: a signal just before it waits is handled after the wait
                signal.pthread_kill(threading.main_thread().ident, number),
            )
        ).start()
        with pytest.raises((KeyboardInterrupt, StopEpisode)):
            client.infer(observation(gate.prompt, value=0.25))
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    gate.open()
    assert asked(client, observation, 0.5, 0.75, 1.0) == [0.5, 0.75, 1.0]


def test_a_connection_that_was_left_is_not_used_even_if_nothing_dropped_it(serve, connect, observation, gate):
    client = connect(serve().port)
    connection = client._connection
    connection._socket.send(pack(observation("sleep 0.05", value=0.25)))  # as if the drop itself had been interrupted
    connection.usable = False
    assert asked(client, observation, 0.5, 0.75) == [0.5, 0.75]
    assert client._connection is not connection


def test_an_answer_to_another_request_is_refused(serve, connect, observation):
    client = connect(serve().port)
    connection = client._connection
    connection._socket.send(pack(observation(value=0.25)))  # its answer has no number
    with pytest.raises(ProtocolError, match="answered request None, not request 1"):
        client.infer(observation(value=0.5))
    assert asked(client, observation, 0.75) == [0.75]
    assert client._connection is not connection


@pytest.mark.filterwarnings(
    "ignore:os.fork:RuntimeWarning"
)  # of JAX, if another test has loaded it; the client has not
def test_a_forked_process_opens_its_own_connection(serve, connect, observation):
    server = serve()
    client = connect(server.port)
    assert asked(client, observation, 0.25) == [0.25]
    episode = client._episodes[""].name
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            got = asked(client, observation, 0.5, 0.625)
            client.close()
            os.write(writer, json.dumps([got, client._episodes[""].name]).encode())
        os._exit(0)
    os.close(writer)
    got = asked(client, observation, 0.75, 1.0)
    with os.fdopen(reader, "rb") as answer:
        theirs, their_episode = json.loads(answer.read())
    os.waitpid(child, 0)
    assert (theirs, got) == ([0.5, 0.625], [0.75, 1.0])
    assert asked(client, observation, 0.125) == [0.125]  # the child's leaving closed nothing here
    assert client._episodes[""].name == episode != their_episode


def test_openpis_frames_are_sent_to_a_server_that_knows_no_numbers(observation):
    frames = []

    def handle(socket):
        socket.send(pack({}))
        for frame in socket:
            frames.append(frame)
            socket.send(pack({"actions": np.zeros((10, 7), np.float32)}))

    server = websockets.sync.server.serve(handle, "127.0.0.1", 0, compression=None)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with PolicyClient("127.0.0.1", server.socket.getsockname()[1]) as client:
            client.infer(observation(value=0.5))
            in_new_episode(client.infer)(observation(value=0.5))
            client.infer(observation(value=0.5), RequestOptions(episode="mine"))
    finally:
        server.shutdown()
        thread.join()
    assert frames == [pack(observation(value=0.5))] * 3


def test_errors_bear_the_number_and_unreadable_frames_none(serve, observation):
    with websockets.sync.client.connect(
        f"ws://127.0.0.1:{serve().port}", compression=None, subprotocols=[SUBPROTOCOL]
    ) as raw:
        assert raw.subprotocol == SUBPROTOCOL
        raw.recv()
        for frame, number in (
            (pack({"inspire": {"request": 3}}), 3),
            (pack({**observation("crash"), "inspire": {"request": 4}}), 4),
            (b"\xc1", None),
            (pack({**observation(), "inspire": {"request": "5"}}), None),
        ):
            raw.send(frame)
            assert ServerError.from_frame(raw.recv()).number == number
        raw.send(pack({**observation(), "inspire": {"request": 6}}))
        assert unpack(raw.recv())["request"] == 6


class Remembering(PuppetPolicy):
    """Answers with the number of calls under the request's memory key."""

    def __init__(self):
        super().__init__()
        self.keys = []

    def infer(self, observation, options=None):
        self.keys.append(options.memory_key)
        return ActionChunk(actions=np.full((1, 7), self.keys.count(options.memory_key), np.float32))


def test_memory_belongs_to_an_episode_not_to_a_connection(serve, connect, observation):
    policy = Remembering()
    port = serve(policy).port
    client, other = connect(port), connect(port)
    assert asked(client, observation, 0, 0) == [1, 2]
    client._drop()
    assert asked(client, observation, 0) == [3]  # another connection, the same episode
    assert asked(other, observation, 0) == [1]
    client.reset()
    assert asked(client, observation, 0, 0) == [1, 2]
    for _ in range(2):  # two episodes of a control loop
        infer = in_new_episode(lambda o: client.infer_async(o, RequestOptions(session="left")).result())
        chunks = [infer(observation()).actions for _ in range(2)]
        assert [None if chunk is None else float(chunk[0, 0]) for chunk in chunks] == [1, 2]
    again = client.infer(observation(), RequestOptions(session="left")).actions
    assert again is not None
    assert again[0, 0] == 1
    assert asked(client, observation, 0) == [3]


def test_a_control_loop_learns_the_servers_metadata_through_any_function(serve, connect, observation):
    client, seen = connect(serve(PuppetPolicy(robot="droid")).port), []
    mark = EpisodeMark(require=seen.append)
    infer = in_new_episode(lambda o: client.infer_async(o).result(), mark)
    native = {**ROBOTS["droid"].fake_native(image_hw=(8, 8)), "prompt": "go"}
    assert infer(native).actions is not None
    assert infer(native).actions is not None
    assert [metadata["robot"] for metadata in seen] == ["droid"]


def test_clients_without_marks_keep_the_connections_memory(serve, observation):
    policy = Remembering()
    port = serve(policy).port
    for _ in range(2):
        with websockets.sync.client.connect(f"ws://127.0.0.1:{port}", compression=None) as raw:
            raw.recv()
            for count in (1, 2):
                raw.send(pack(observation()))
                assert unpack(raw.recv())["actions"][0, 0] == count


@pytest.mark.parametrize("background", [False, True])
def test_closing_does_not_wait_for_the_server(serve, connect, observation, gate, background):
    client = connect(serve(drain_s=0.1).port)
    errors = []

    def ask():
        with pytest.raises(ConnectionLostError, match="This client was closed") as closed:
            client.infer(observation(gate.prompt))
        errors.append(closed.value)

    thread = threading.Thread(target=ask)
    if background:
        future = client.infer_async(observation(gate.prompt))
    else:
        thread.start()
    gate.wait_until_reached()
    start = time.monotonic()
    client.close()
    if background:
        with pytest.raises(ConnectionLostError, match="This client was closed"):
            future.result(10)
    else:
        thread.join(10)
        assert len(errors) == 1
    assert time.monotonic() - start < 5
    gate.open()


def test_closing_ends_the_wait_for_a_server_that_left(serve, connect, observation):
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(contextlib.closing(connect(serve().port)))
        client._drop()
        client._endpoint = type(client._endpoint)(uri="ws://127.0.0.1:9", api_key=None, max_frame_bytes=1000)
        future = client.infer_async(observation())
        time.sleep(0.05)
        client.close()
        with pytest.raises(ConnectionLostError, match="This client was closed"):
            future.result(10)
