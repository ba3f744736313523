"""The server in this process: options, errors, health, access, load."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
import logging
import threading
import time

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
import websockets.sync.client

from inspire_fast.client import AccessDeniedError, ConnectionLostError, ErrorCode, RequestTimeoutError, ServerError
from inspire_fast.client.codec import pack, unpack
from inspire_fast.client.connection import Deadline
from inspire_fast.core.policy import Policy, RequestOptions
from inspire_fast.core.types import Status
from inspire_fast.serving import PolicyServer, ServerConfig
from inspire_fast.serving.access import load_api_keys
from inspire_fast.serving.testing import PuppetPolicy
from tests.serving.conftest import wait_until


def raw(port, **options):
    return websockets.sync.client.connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, **options)


def test_a_client_is_a_policy(serve, connect, observation):
    client = connect(serve().port)
    assert isinstance(client, Policy)
    assert client.metadata == {"robot": "libero", "horizon": 10}
    chunk = client.infer(observation(value=0.5), RequestOptions())
    assert chunk.status is Status.OK
    np.testing.assert_array_equal(chunk.actions, np.full((10, 7), 0.5, np.float32))
    assert chunk.timing_ms["prefill_ms"] == 1.5
    assert chunk.timing_ms["round_trip_ms"] >= chunk.timing_ms["server_infer_ms"]


def test_options_reach_the_policy_and_answers_come_back(serve, connect, observation):
    options = RequestOptions(mode="force", targets=["the bowl", "the plate"], answers=["left", "up"])
    chunk = connect(serve().port).infer(observation(), options)
    assert [(a.target, a.answer) for a in chunk.answers] == [("the bowl", "left"), ("the plate", "up")]


def test_a_held_chunk_says_why(serve, connect, observation):
    chunk = connect(serve().port).infer(observation("hold"))
    assert (chunk.status, chunk.actions, chunk.reason) == (Status.HELD, None, "told to hold")


def test_an_invalid_request_is_refused_in_words_and_the_connection_lives_on(serve, connect, observation):
    client = connect(serve().port)
    connection = client._connection
    wrong_shape = {**observation(), "observation/state": np.zeros(3, np.float32)}
    with pytest.raises(ServerError, match=r"must have shape \(8,\)") as refused:
        client.infer(wrong_shape)
    assert refused.value.code == ErrorCode.INVALID_REQUEST
    nan = {**observation(), "observation/state": np.full(8, np.nan, np.float32)}
    with pytest.raises(ServerError, match="NaN"):
        client.infer(nan)
    with pytest.raises(ServerError, match="Did you mean 'targets'"):
        connection.exchange(
            pack({**observation(), "inspire": {"request": 5, "target": ["the bowl"]}}), Deadline(10), number=5
        )
    assert client.infer(observation()).status is Status.OK
    assert client._connection is connection


def test_a_crash_stays_in_the_log_and_the_client_gets_its_id(serve, connect, observation, caplog):
    client = connect(serve().port)
    with pytest.raises(ServerError, match="ZeroDivisionError") as crashed:
        client.infer(observation("crash"))
    assert crashed.value.code == ErrorCode.INTERNAL_ERROR
    assert "secret" not in str(crashed.value)
    record = next(r for r in caplog.records if crashed.value.error_id in r.getMessage())
    assert record.levelno == logging.ERROR
    assert "a secret of the server" in caplog.text
    assert client.infer(observation()).status is Status.OK


def test_openpi_errors_sends_the_traceback_and_closes(serve, connect, observation):
    port = serve(openpi_errors=True).port
    with raw(port) as connection:
        connection.recv()
        connection.send(pack(observation("crash")))
        text = connection.recv()
        assert text.startswith("Traceback (most recent call last):")
        assert text.rstrip().endswith("ZeroDivisionError: a secret of the server")
        with pytest.raises(ConnectionClosedError) as closed:
            connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        assert closed.value.rcvd.reason == "Internal server error. Traceback included in previous frame."
    client = connect(port)
    with pytest.raises(ServerError, match="secret") as error:
        client.infer(observation("crash"))
    assert error.value.foreign
    assert client.infer(observation()).status is Status.OK  # on a new connection


def test_health_and_new_clients_are_answered_during_an_inference(serve, connect, observation, get, gate):
    port = serve().port
    client = connect(port)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.infer, observation(gate.prompt))
        gate.wait_until_reached()
        assert get(port, "/healthz") == (200, "OK\n")
        assert get(port, "/readyz") == (200, "OK\n")
        assert connect(port).metadata["robot"] == "libero"
        assert not slow.done()
        gate.open()
        assert slow.result().status is Status.OK


def test_concurrent_clients_get_their_own_replies(serve, connect, observation):
    port = serve().port

    def talk(number):
        client = connect(port)
        for i in range(10):
            value = number + i / 16
            assert (client.infer(observation(value=value)).actions == value).all()
        return number

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(talk, range(6))) == list(range(6))


def test_threads_may_share_a_client(serve, connect, observation):
    client = connect(serve().port)
    with ThreadPoolExecutor(4) as pool:
        chunks = list(pool.map(lambda i: client.infer(observation(value=i / 4)), range(20)))
    assert [chunk.actions[0, 0] for chunk in chunks] == [i / 4 for i in range(20)]


def test_the_next_chunk_is_made_while_this_one_is_executed(serve, connect, observation, gate):
    policy = PuppetPolicy()
    client = connect(serve(policy).port)
    running = client.infer_async(observation(gate.prompt, value=1.0))
    gate.wait_until_reached()
    waiting, unwanted = client.infer_async(observation(value=2.0)), client.infer_async(observation("unwanted"))
    wrong = client.infer_async(observation(7))
    assert not running.done()
    assert unwanted.cancel()
    gate.open()
    assert (running.result(30).actions == 1.0).all()
    assert (waiting.result(30).actions == 2.0).all()
    with pytest.raises(ServerError, match="must be text"):
        wrong.result(30)
    assert policy.prompts == [gate.prompt, "go"]
    client.close()
    with pytest.raises(ConnectionLostError, match="was closed"):
        client.infer_async(observation())


def test_the_deadline_of_a_queued_request_runs_from_the_call(serve, connect, observation, gate):
    policy = PuppetPolicy()
    client = connect(serve(policy).port)
    running = client.infer_async(observation(gate.prompt))
    gate.wait_until_reached()
    connection = client._connection
    late = client.infer_async(observation("late"), timeout_s=0.05)
    time.sleep(0.1)
    gate.open()
    running.result(30)
    with pytest.raises(RequestTimeoutError, match="took all of"):
        late.result(30)
    assert client.infer(observation("next")).status is Status.OK
    assert client._connection is connection
    assert policy.prompts == [gate.prompt, "next"]


def test_a_late_answer_never_reaches_the_next_request(serve, connect, observation, gate):
    client = connect(serve().port)
    with pytest.raises(RequestTimeoutError, match=r"within 1 s"):
        client.infer(observation(gate.prompt, value=1.0), timeout_s=1)
    gate.wait_until_reached()  # and is held still: the client did not wait for the answer
    gate.open()
    assert (client.infer(observation(value=2.0)).actions == 2.0).all()


def test_a_request_whose_client_left_is_not_worked_on(serve, connect, observation, gate):
    policy = PuppetPolicy()
    server = serve(policy)
    busy, leaving = connect(server.port), connect(server.port)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(busy.infer, observation(gate.prompt))
        gate.wait_until_reached()
        with pytest.raises(RequestTimeoutError):
            leaving.infer(observation("given up"), timeout_s=0.5)
        wait_until(lambda: len(server._sessions) == 1)
        gate.open()
        slow.result()
    assert busy.infer(observation("last")).status is Status.OK
    assert policy.prompts == [gate.prompt, "last"]


def test_a_full_queue_says_so(serve, connect, observation, gate):
    policy = PuppetPolicy()
    server = serve(policy, max_waiting=1)
    clients = [connect(server.port) for _ in range(3)]
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(clients[0].infer, observation(gate.prompt))
        gate.wait_until_reached()
        waiting = pool.submit(clients[1].infer, observation("waits"))
        wait_until(lambda: server._batcher.waiting == 1)
        with pytest.raises(ServerError, match="waiting already") as full:
            clients[2].infer(observation())
        assert full.value.code == ErrorCode.OVERLOADED
        gate.open()
        assert running.result().status is waiting.result().status is Status.OK
    assert clients[2].infer(observation()).status is Status.OK


def test_api_keys(serve, connect, observation, get, tmp_path):
    file = tmp_path / "keys"
    file.write_text("# robots\nfirst-key\n\nsecond-key\n", encoding="utf-8")
    keys = load_api_keys(file, {"INSPIRE_FAST_API_KEYS": "third-key, "})
    assert keys == ("third-key", "first-key", "second-key")
    port = serve(api_keys=keys).port
    assert connect(port, api_key="second-key").infer(observation()).status is Status.OK
    for wrong in (None, "first", "first-keyy"):
        with pytest.raises(AccessDeniedError, match="API key missing or wrong"):
            connect(port, api_key=wrong)
    for header in ("first-key", "Bearer first-key", "Api-Key \xff"):
        with pytest.raises(InvalidStatus, match="401"):
            raw(port, additional_headers={"Authorization": header})
    assert get(port, "/healthz")[0] == 200
    assert get(port, "/")[0] == 401


def test_a_key_file_without_keys_is_an_error(tmp_path):
    (tmp_path / "keys").write_text("# none yet\n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds no key"):
        load_api_keys(tmp_path / "keys", {})


def test_web_pages_are_refused(serve):
    with pytest.raises(InvalidStatus, match="403"):
        raw(serve().port, origin="http://example.org")


def test_an_open_address_without_keys_warns(caplog):
    async def start():
        async with PolicyServer(PuppetPolicy(), ServerConfig(host="0.0.0.0")):
            return

    asyncio.run(start())
    assert "without API keys" in caplog.text


def test_readyz_waits_for_the_warm_up(observation, get, gate, tmp_path):
    policy, port_file = PuppetPolicy(), tmp_path / "port"
    server = PolicyServer(
        policy,
        ServerConfig(port_file=port_file),
        warm_up=lambda: policy.infer(observation(gate.prompt), RequestOptions()),
    )
    statuses = []

    async def start():
        async with server:
            statuses.append(await asyncio.to_thread(get, server.port, "/readyz"))

    thread = threading.Thread(target=asyncio.run, args=(start(),))
    thread.start()
    wait_until(port_file.exists)
    assert get(int(port_file.read_text(encoding="utf-8")), "/readyz") == (503, "not ready\n")
    assert get(int(port_file.read_text(encoding="utf-8")), "/healthz") == (200, "OK\n")
    gate.open()
    thread.join()
    assert statuses == [(200, "OK\n")]
    assert policy.prompts == [gate.prompt]
    assert not port_file.exists()


def test_a_warm_up_that_fails_stops_the_start(serve, observation, tmp_path):
    with pytest.raises(ZeroDivisionError):
        serve(warm_up=lambda: PuppetPolicy().infer(observation("crash"), RequestOptions()), port_file=tmp_path / "port")
    assert not (tmp_path / "port").exists()


def test_a_port_that_is_taken_is_named(serve):
    with pytest.raises(OSError, match=r"^Port \d+ of 127\.0\.0\.1 is taken, .*`--port`"):
        serve(port=serve().port)


def test_a_policy_that_runs_out_of_data_is_an_error_of_the_server(serve, connect, observation):
    class Replay(PuppetPolicy):
        def infer(self, observation, options):
            return next(iter(()))

    client = connect(serve(Replay()).port)
    with pytest.raises(ServerError, match="RuntimeError"):
        client.infer(observation())


def test_a_frame_above_the_limit_is_not_read(serve, connect, observation):
    client = connect(serve(max_frame_bytes=100_000).port)
    with pytest.raises(ServerError, match=r"larger than the server accepts.*100000.*--max-frame-mib") as refused:
        client.infer({**observation(), "padding": bytes(200_000)})
    assert refused.value.code == ErrorCode.FRAME_TOO_LARGE
    assert client.infer(observation()).status is Status.OK


def test_the_first_frame_is_the_packed_metadata(serve):
    with raw(serve().port) as connection:
        assert unpack(connection.recv()) == {"robot": "libero", "horizon": 10}


@pytest.mark.parametrize("ping_timeout_s", [600.0, None])
def test_a_client_that_answers_no_ping_is_kept_as_long_as_configured(serve, connect, ping_timeout_s):
    server = serve(ping_timeout_s=ping_timeout_s)
    connect(server.port)
    (connection,) = server._server.connections
    assert connection.ping_timeout == ping_timeout_s


def test_a_server_on_ipv6_is_reached_by_address_in_brackets_and_by_its_uri(serve, connect, observation):
    try:
        server = serve(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    for host, port in (("::1", server.port), ("[::1]", server.port), (server.uri, None)):
        assert connect(port, host=host).infer(observation()).status is Status.OK
