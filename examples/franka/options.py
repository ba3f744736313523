"""Command line of the Franka example."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from inspire_fast.robots.control.execution.registry import WAYS

# DROID's pose to start from, rad.
START = (0.0, -0.628, 0.0, -2.513, 0.0, 1.885, 0.0)
CAMERAS = "a camera as `opencv:0`, `pictures:FOLDER`, `realsense:SERIAL`, `zed:SERIAL` or `ros:/topic`"


def parse(text: str | None, args: list[str] | None = None) -> argparse.Namespace:
    """The options; `text` is the program's description."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--arm", default="172.16.0.2", help="address of the control box")
    add("--backend", choices=("franky", "franka-rs"), default="franky")
    add("--policy", default="127.0.0.1:8000", help="address of the policy server")
    add("--robot", choices=("droid", "droid_joint_position", "franka_delta_pose"), default="droid")
    add("--prompt", required=True, help="the instruction")
    add("--episodes", type=int, default=1)
    add("--max-steps", type=int, default=600, help="control steps per episode, at 15 Hz")
    add("--execution", choices=WAYS, default="synchronous")
    add("--execute", type=int, default=8, help="actions of each chunk")
    add("--exterior", required=True, help=CAMERAS)
    add("--wrist", required=True, help=CAMERAS)
    add("--gripper", default="hand", help="`hand`, `robotiq:/dev/ttyUSB0` or `none`")
    add("--start", type=float, nargs=7, default=START, help="pose in which an episode starts, rad")
    add("--speed", type=float, default=0.3, help="share of the arm's limits of speed, acceleration and jerk")
    add("--box", type=float, nargs=6, default=(0.2, -0.5, 0.02, 0.8, 0.5, 0.9), help="x y z x y z of the workspace, m")
    add("--max-lag", type=float, default=0.35, help="rad of any joint behind its command: a fault")
    add("--stale", type=float, default=0.25, help="seconds without a measurement of the arm: a fault")
    add("--max-holds", type=int, default=30, help="holds in a row that end an episode")
    add("--request-timeout", type=float, default=5.0, help="seconds after which a request counts as lost")
    add("--no-realtime", action="store_true", help="run without a real-time kernel")
    add("--recover", action="store_true", help="clear a reflex of before")
    add("--dry-run", action="store_true", help="everything but moving")
    add("--yes", action="store_true", help="do not ask before the first motion")
    add("--report", type=Path, help="JSON lines: one per episode, and the stream's cadence")
    add("--record", type=Path, help="folder for rollouts; `convert_dataset.py rollouts` makes a dataset of them")
    add("--trace", type=Path, help="JSON lines: one per control step, with its time on the monotonic clock")
    return parser.parse_args(args)


def box_of(numbers: tuple[float, ...]) -> dict[str, Any]:
    """Six numbers -> the arguments of a `Box`."""
    return {"low": tuple(numbers[:3]), "high": tuple(numbers[3:])}
