"""Evaluation of a server of openpi: its frames, its missing metadata, its tracebacks."""

from collections.abc import Iterator
import contextlib
from pathlib import Path
import threading
import time

import numpy as np
from openpi_client import msgpack_numpy
import pytest
from websockets.sync.server import Server, ServerConnection, serve

from inspire_fast.evaluation.run.evaluate import in_processes, run_missing_episodes
from inspire_fast.evaluation.run.failures import StoppedError, read_failures
from inspire_fast.evaluation.run.runner import Address, Job
from tests.evaluation.faked import PROTOCOL, Faked

KEYS = [("libero_object", 0, episode) for episode in range(6)]


@contextlib.contextmanager
def openpi_server(*, fails_at: int = -1, late_at: int = -1) -> Iterator[int]:
    """openpi's `WebsocketPolicyServer`, step for step, with a policy that always says the same; yields its port."""
    asked = 0

    def handle(socket: ServerConnection) -> None:
        nonlocal asked
        socket.send(msgpack_numpy.packb({}))
        for frame in socket:
            observation = msgpack_numpy.unpackb(frame)
            assert set(observation) == {"observation/image", "observation/wrist_image", "observation/state", "prompt"}
            asked += 1
            if asked == fails_at:
                socket.send("Traceback (most recent call last):\n  ...\nValueError: out of memory")
                socket.close(1011, "Internal server error. Traceback included in previous frame.")
                return
            if asked == late_at:
                time.sleep(3)
            actions = np.zeros((10, 7), np.float32)
            socket.send(msgpack_numpy.packb({"actions": actions, "server_timing": {"infer_ms": 1.0}}))

    server: Server = serve(handle, "127.0.0.1", 0, compression=None, max_size=None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join()


def run(port: int, folder: Path, *, answering: str = "own", timeout_s: float = 60.0) -> list:
    address = Address(port=port, request_timeout_s=timeout_s)
    with address() as client:
        policy = dict(client.metadata)
    job = Job(
        protocol=PROTOCOL, policy=policy, name="theirs", answering=answering, videos="none", out=folder, make=Faked
    )
    return run_missing_episodes(job, KEYS, in_processes(address, 1))


def test_it_is_evaluated_like_ours(tmp_path: Path) -> None:
    with openpi_server() as port:
        found = run(port, tmp_path)
        assert [r.key for r in found] == KEYS
        assert all(call.answers == () and call.status == "ok" for r in found for call in r.calls)
        assert all("server_infer_ms" in call.timing_ms for r in found for call in r.calls)
        with pytest.raises(ValueError, match="asks no questions"):
            run(port, tmp_path / "oracle", answering="oracle")


def test_its_traceback_and_its_lateness_are_not_the_policys(tmp_path: Path) -> None:
    with openpi_server(fails_at=1, late_at=4) as port:
        found = run(port, tmp_path, timeout_s=1.0)
        failures = read_failures(tmp_path)
        assert [f.kind for f in failures] == ["server", "late"]
        assert "ValueError: out of memory" in failures[0].reason
        assert len(found) == len(KEYS) - 2
        assert len(run(port, tmp_path)) == len(KEYS)


def test_a_server_that_ended_stops_the_evaluation(tmp_path: Path) -> None:
    with openpi_server() as port:
        pass
    address = Address(port=port, connect_timeout_s=0.5)
    job = Job(protocol=PROTOCOL, policy={}, videos="none", out=tmp_path, make=Faked)
    with pytest.raises(StoppedError, match=r"3 infrastructure failure\(s\) in a row.*server"):
        run_missing_episodes(job, KEYS, in_processes(address, 1))
    assert run_missing_episodes(job, [], in_processes(address, 1)) == []
