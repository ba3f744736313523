"""The processes of the ALOHA example: ROS master, the node of both arms and four cameras, policy server, client."""

import contextlib
import json
import time

import numpy as np

from tests.examples.processes import ENVIRONMENTS, ROOT, ClientBench, Process, free_port, write_pictures
from tests.robots.stop_folder import own_stop_folder

CLIENT = ENVIRONMENTS / "aloha" / "bin" / "python"
ROS = ENVIRONMENTS / "ros"
MESSAGES = ENVIRONMENTS / "aloha-messages"
PACKAGES = ROS / "usr/lib/python3/dist-packages"
CAMERAS = ("cam-high", "cam-low", "cam-left-wrist", "cam-right-wrist")
READY = CLIENT.exists() and PACKAGES.exists() and (MESSAGES / "interbotix_xs_msgs").exists()


class Bench(ClientBench):
    """A workstation; the cameras are pictures in a folder, or come by ROS with the options `topics` of their node."""

    def __init__(self, folder, *, server=(), served="aloha", topics=()):
        super().__init__(folder, "aloha")
        self.master_port, self.topics = free_port(), topics
        self._stack = contextlib.ExitStack()
        self.environment = {
            "PYTHONPATH": f"{ROOT}:{MESSAGES}:{PACKAGES}",
            "ROS_MASTER_URI": f"http://127.0.0.1:{self.master_port}",
            "ROS_IP": "127.0.0.1",
            "ROS_HOME": str(folder / "ros"),
            **dict([self._stack.enter_context(own_stop_folder())]),
        }
        self.pictures = write_pictures(folder / "pictures")
        self.node = self.master = self.cameras = None
        try:
            self.master = Process(
                folder / "master.log",
                *(CLIENT, "-c", "from rosmaster.main import rosmaster_main as m; m()", "--core", "-p"),
                self.master_port,
                environment=self.environment,
            )
            self.node = self.start_node()
            self.cameras = self.start_node(*topics, log="cameras.log") if topics else None
            self.server = self.start_server("--horizon", 50, *server, robot=served)
        except BaseException:
            self.close()
            raise

    def start_node(self, *options, log="node.log"):
        node = Process(
            self.folder / log,
            *(CLIENT, ROOT / "tests/examples/aloha_real/node.py", self.folder, *options),
            environment=self.environment,
        )
        node.wait_for("ready")
        return node

    def start_client(self, *options, check=()):
        """The client; with `check`, options of the check, that one with the client's options."""
        cameras = [] if self.topics else [f"--{name}=pictures:{self.pictures}" for name in CAMERAS]
        if "--camera-size" in self.topics and not check:
            height, width = self.topics[self.topics.index("--camera-size") + 1 :][:2]
            topics = (f"ros:/usb_{name.replace('-', '_')}/image_raw@{height}x{width}" for name in CAMERAS)
            cameras = [f"--{name}={topic}" for name, topic in zip(CAMERAS, topics, strict=True)]
        self.client = Process(
            self.folder / "client.log",
            *(CLIENT, *((ROOT / "scripts/check_robot.py", *check) if check else ())),
            *(ROOT / "examples/aloha_real/main.py", "--policy", f"127.0.0.1:{self.port}", "--prompt", "swing"),
            *(*cameras, "--yes", "--report", self.folder / "report.jsonl", "--trace", self.folder / "trace"),
            *options,
            environment=self.environment,
        )
        return self.client

    def joints(self):
        """Positions of all motors twice a second, `[n, 14]`."""
        rows = []
        for line in self.node.text.splitlines():
            if line.startswith('{"q"'):
                with contextlib.suppress(json.JSONDecodeError):
                    rows.append(json.loads(line)["q"])
        return np.array(rows)

    def commands(self, arm="puppet_left", what="arm"):
        """Times `[n]` and positions `[n, d]` of what arrived at an arm."""
        lines = (self.folder / "commands").read_text(encoding="utf-8").splitlines(True)
        rows = [json.loads(line) for line in lines if line[-1:] == "\n"]
        mine = [row for row in rows if row["arm"] == arm and row["what"] == what]
        return np.array([row["time_s"] for row in mine]), np.array([row["cmd"] for row in mine])

    def settled(self, *, wait_s=2.5, within=0.01):
        """Whether the arms stand still after a while."""
        time.sleep(wait_s)
        return bool(np.ptp(self.joints()[-3:], axis=0).max() < within)

    def close(self):
        super().close(self.node, self.cameras, self.master)
        self._stack.close()


def figures_of(times_s):
    """Mean, 99th percentile and largest period, ms."""
    periods_ms = 1e3 * np.diff(times_s)
    return {
        "period_ms_mean": float(periods_ms.mean()),
        "period_ms_p99": float(np.percentile(periods_ms, 99)),
        "period_ms_max": float(periods_ms.max()),
    }
