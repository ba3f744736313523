"""Command line of the ALOHA example."""

from __future__ import annotations

import argparse
from pathlib import Path

from inspire_fast.robots.control.execution.registry import WAYS

# ALOHA's pose to start from, rad, of each arm; the grippers are opened.
START = (0.0, -0.96, 1.16, 0.0, -0.3, 0.0)
CAMERA = "a camera as `ros:/topic`, `opencv:0`, `realsense:SERIAL` or `pictures:FOLDER`"
CAMERAS = ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")


def parse(text: str | None, args: list[str] | None = None) -> argparse.Namespace:
    """The options; `text` is the program's description."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--policy", default="127.0.0.1:8000", help="address of the policy server")
    add("--prompt", required=True, help="the instruction")
    add("--episodes", type=int, default=1)
    add("--max-steps", type=int, default=1500, help="control steps per episode, at 50 Hz")
    add("--execution", choices=WAYS, default="synchronous")
    add("--execute", type=int, default=25, help="actions of each chunk")
    for name in CAMERAS:
        add(f"--{name.replace('_', '-')}", default=f"ros:/usb_{name}/image_raw", help=CAMERA)
    add("--start", type=float, nargs=6, default=START, help="pose of each arm in which an episode starts, rad")
    add("--speed", type=float, default=0.3, help="share of the arms' limits of speed, acceleration and jerk")
    add("--box", type=float, nargs=6, default=(0.05, -0.5, 0.02, 0.75, 0.5, 0.7), help="of each arm: x y z x y z, m")
    add("--no-box", action="store_true", help="no workspace box; the nodes need not have a URDF then")
    add("--stream-hz", type=float, default=50.0, help="rate of the commands; positions between targets are made up")
    add("--max-lead", type=float, default=0.5, help="rad: a joint's target is at most this far from where it is")
    add("--max-lag", type=float, default=0.35, help="rad of any joint behind its command: a fault; below --max-lead")
    add("--stale", type=float, default=0.25, help="seconds without a state of both arms: a fault")
    add("--camera-stale", type=float, default=0.3, help="age of a newest picture, s, at which the arms hold")
    add("--max-holds", type=int, default=100, help="holds in a row that end an episode")
    add("--request-timeout", type=float, default=5.0, help="seconds after which a request counts as lost")
    add("--set-modes", action="store_true", help="set the motors' operating modes; the arms go limp for a moment")
    add("--dry-run", action="store_true", help="everything but moving")
    add("--yes", action="store_true", help="do not ask before the first motion")
    add("--report", type=Path, help="JSON lines: one per episode, and the stream's cadence")
    add("--record", type=Path, help="folder for rollouts; `convert_dataset.py rollouts` makes a dataset of them")
    add("--trace", type=Path, help="JSON lines: one per control step, with its time on the monotonic clock")
    return parser.parse_args(args)
