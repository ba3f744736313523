"""Processes of an example as a user starts them: a robot or its simulation, a policy server, a client."""

import contextlib
import json
import os
from pathlib import Path
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".tools" / "robots"


def free_port():
    """A port that no other program is given by chance: ROS's nodes take many of the range of such ports."""
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def write_pictures(folder, *, size=(90, 160), count=20):
    """Pictures of noise, as a camera."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        picture = Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8))
        picture.save(folder / f"{index:02d}.png", compress_level=1)
    return folder


def heed_ctrl_c():
    """A shell that runs the tests in the background ignores Ctrl-C, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Process:
    """A process with its output in a file."""

    def __init__(self, log, *command, environment=()):
        self.log = log
        with log.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **dict(environment)},
                start_new_session=True,
                preexec_fn=heed_ctrl_c,  # noqa: PLW1509  (these tests have no threads)
            )

    @property
    def text(self):
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, word, wait_s=120.0):
        end = time.monotonic() + wait_s
        while word not in self.text:
            assert self.process.poll() is None, f"ended before {word!r}:\n{self.text[-3000:]}"
            assert time.monotonic() < end, f"no {word!r} within {wait_s} s:\n{self.text[-3000:]}"
            time.sleep(0.05)

    def send(self, number):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return time.monotonic()

    def end(self, wait_s=120.0):
        return self.process.wait(wait_s)

    def kill(self):
        self.send(signal.SIGKILL)
        self.end()


class ClientBench:
    """A client with its trace and report, and a policy server; the robot comes from who inherits it."""

    def __init__(self, folder, robot):
        self.folder, self.robot, self.port = folder, robot, free_port()
        self.client: Process | None = None
        self.server: Process | None = None

    def start_server(self, *options, robot=None):
        script = Path(__file__).with_name("scripted_server.py")
        process = Process(self.folder / "server.log", sys.executable, script, self.port, robot or self.robot, *options)
        self.server = process
        process.wait_for("ready")
        return process

    def wait_for_steps(self, number, wait_s=120.0):
        end = time.monotonic() + wait_s
        while len(self.trace()) < number:
            assert self.client.process.poll() is None, self.client.text[-3000:]
            assert time.monotonic() < end, f"{len(self.trace())} steps after {wait_s} s:\n{self.client.text[-3000:]}"
            time.sleep(0.02)

    def trace(self):
        """Steps so far; a line that is being written is left out."""
        with contextlib.suppress(FileNotFoundError):
            return [
                json.loads(line)
                for line in (self.folder / "trace").read_text(encoding="utf-8").splitlines(True)
                if line[-1:] == "\n"
            ]
        return []

    def report(self):
        return [json.loads(line) for line in (self.folder / "report.jsonl").read_text(encoding="utf-8").splitlines()]

    def seconds_to_hold(self, fault_s):
        """From a fault to the last step that moved."""
        moving = [row["time_s"] for row in self.trace() if row["time_s"] > fault_s and not row["held"]]
        return (max(moving) if moving else fault_s) - fault_s

    def close(self, *more):
        for process in (self.client, self.server, *more):
            if process is not None and process.process.poll() is None:
                process.kill()
