from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import http.client
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from inspire_fast.client import PolicyClient
from inspire_fast.robots import ROBOTS
from inspire_fast.serving import PolicyServer, ServerConfig, serve_in_background
from inspire_fast.serving.testing import PuppetPolicy

PROGRAM = """
import sys, pathlib
from inspire_fast.serving import PolicyServer, ServerConfig
from inspire_fast.serving.testing import PuppetPolicy
port_file, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
PolicyServer(PuppetPolicy(), ServerConfig(port=port, port_file=port_file)).serve_forever()
"""


def observation(prompt: str = "go", value: float = 0.0) -> dict[str, Any]:
    native = ROBOTS["libero"].fake_native(image_hw=(32, 32))
    return {**native, "prompt": prompt, "observation/state": np.full(8, value, dtype=np.float32)}


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


@pytest.fixture
def serve() -> Iterator[Callable[..., PolicyServer]]:
    """Starts servers in this process; they drain after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda policy=None, *, warm_up=None, observers=(), **config: stack.enter_context(
            serve_in_background(
                PolicyServer(policy or PuppetPolicy(), ServerConfig(**config), warm_up=warm_up, observers=observers)
            )
        )


@pytest.fixture
def connect() -> Iterator[Callable[..., PolicyClient]]:
    """Connects clients; they are closed before the servers."""
    with contextlib.ExitStack() as stack:
        yield lambda port, host="127.0.0.1", **options: stack.enter_context(
            PolicyClient(host, port, **{"connect_timeout_s": 30.0, "request_timeout_s": 30.0, **options})
        )


class Gate:
    """Holds an inference whose prompt is `gate.prompt` until it is opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.prompt = f"wait {path}"

    def wait_until_reached(self) -> None:
        wait_until(self._path.with_suffix(".begun").exists)

    def open(self) -> None:
        self._path.touch()


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()  # after a failed test too: the server drains


class ServerProcess:
    """A server of the puppet policy in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.port_file = folder / "port"
        self.process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self) -> int:
        arguments = [sys.executable, "-c", PROGRAM, str(self.port_file), str(self.port)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        return self.port

    def wait_for_port(self) -> int:
        assert self.process is not None
        end = time.monotonic() + 30
        while not self.port_file.exists():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.02)
        self.port = int(self.port_file.read_text(encoding="utf-8"))
        return self.port

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
        self.port_file.unlink(missing_ok=True)


@pytest.fixture
def server_process(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path)
    yield server
    server.kill()


@pytest.fixture(name="observation")
def observation_fixture() -> Callable[..., dict[str, Any]]:
    return observation


@pytest.fixture(name="get")
def get_fixture() -> Callable[[int, str], tuple[int, str]]:
    return get
