"""A server in its own process: start, SIGTERM, kill and restart, a server that hangs."""

import os
import signal
import socket
import threading
import time

import numpy as np
import pytest

from inspire_fast.client import (
    ConnectionLostError,
    PolicyChangedError,
    PolicyClient,
    RequestTimeoutError,
)
from inspire_fast.client.errors import ProtocolError
from inspire_fast.core.types import Status
from inspire_fast.serving import PolicyServer, ServerConfig, serve_in_background
from inspire_fast.serving.testing import PuppetPolicy


def test_a_client_waits_for_a_server_that_is_still_starting(server_process, connect, observation):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server_process.port = free.getsockname()[1]
    timer = threading.Timer(0.3, server_process.start)
    timer.start()
    client = connect(server_process.port)
    assert client.infer(observation()).status is Status.OK
    assert int(server_process.port_file.read_text(encoding="utf-8")) == server_process.port


def test_waiting_is_bounded_and_reported(monkeypatch):
    monkeypatch.setattr("inspire_fast.client.connection._REPORT_EVERY_S", 0.2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    waited = []
    with pytest.raises(ConnectionLostError, match=r"No policy server at ws://127.0.0.1.*refused"):
        PolicyClient("127.0.0.1", port, connect_timeout_s=4, on_wait=lambda s, why: waited.append((s, why)))
    assert 1 <= len(waited) <= 4 / 0.2
    assert all(seconds >= 0.2 and "refused" in why for seconds, why in waited)


def test_something_else_at_the_address_is_told_apart(serve):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ProtocolError, match="HTTP 404"):
            PolicyClient("127.0.0.1", listener.getsockname()[1], connect_timeout_s=5)
        thread.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_finishes_the_request_that_is_owed(server_process, connect, observation, gate, number):
    server_process.start()
    client = connect(server_process.wait_for_port())
    idle = connect(server_process.port)
    chunks = []
    thread = threading.Thread(target=lambda: chunks.append(client.infer(observation(gate.prompt, value=0.5))))
    thread.start()
    gate.wait_until_reached()
    server_process.process.send_signal(number)
    gate.open()
    thread.join()
    assert (chunks[0].actions == 0.5).all()
    output, _ = server_process.process.communicate(timeout=60)
    assert server_process.process.returncode == 0
    assert f"Serving on ws://127.0.0.1:{server_process.port}\n" in output
    assert "Traceback" not in output
    assert not server_process.port_file.exists()
    with pytest.raises(ConnectionLostError, match="No policy server"):
        idle.infer(observation(), timeout_s=0.3)


def test_a_killed_server_is_reported_and_its_successor_found(server_process, connect, observation, gate):
    server_process.start()
    client = connect(server_process.wait_for_port())
    assert client.infer(observation(value=1.0)).actions[0, 0] == 1.0
    errors = []

    def ask():
        try:
            client.infer(observation(gate.prompt))
        except ConnectionLostError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    gate.wait_until_reached()
    server_process.kill()
    thread.join()
    assert "left before it answered" in str(errors[0])
    server_process.start()
    assert client.infer(observation(value=2.0)).actions[0, 0] == 2.0


def test_a_server_that_hangs_costs_no_more_than_the_deadline(server_process, connect, observation):
    server_process.start()
    client = connect(server_process.wait_for_port())
    os.kill(server_process.process.pid, signal.SIGSTOP)
    large = {**observation(), "padding": np.zeros(20_000_000, np.uint8)}  # more than the kernel's buffers take
    for request in (large, observation()):  # the second cannot even connect again
        start = time.perf_counter()
        with pytest.raises((RequestTimeoutError, ConnectionLostError)):
            client.infer(request, timeout_s=0.5)
        assert time.perf_counter() - start < 20  # without a deadline it would hang for good
    os.kill(server_process.process.pid, signal.SIGCONT)
    assert client.infer(observation(value=3.0)).actions[0, 0] == 3.0


def test_an_idle_client_notices_a_restart_if_the_policy_is_another_one(connect, observation, caplog):
    with serve_in_background(PolicyServer(PuppetPolicy())) as server:
        port = server.port
        client = connect(port)
        assert client.infer(observation(value=1.0)).actions[0, 0] == 1.0
    with serve_in_background(PolicyServer(PuppetPolicy(horizon=4), ServerConfig(port=port))):
        for _ in range(2):
            with pytest.raises(PolicyChangedError, match="horizon: 10 then, 4 now"):
                client.infer(observation(value=2.0))
        assert client.metadata["horizon"] == 10
    with serve_in_background(PolicyServer(PuppetPolicy(), ServerConfig(port=port))):
        assert client.infer(observation(value=3.0)).actions[0, 0] == 3.0
        assert "may serve another policy by now" in caplog.text  # the puppet names no checkpoint
        client.close()
        with pytest.raises(ConnectionLostError, match="was closed"):
            client.infer(observation())
