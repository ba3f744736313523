"""Checks a robot workstation before anything moves: cameras, arm, policy server. Moves nothing, takes no control.

    inspire-check-robot examples/franka/main.py OPTIONS    the options with which that program will be run
    inspire-check-robot --robot droid --camera observation/wrist_image_left=opencv:2 ... --policy HOST:PORT

The program's file has a function `workstation(options) -> Workstation`; without a program there is no arm to be read.
Prints a table and one message per failure. Status 0: ready; 1: not; 2: the command line is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import importlib
import logging
from pathlib import Path
import sys

from inspire_fast.client import PolicyClient, PolicyClientError
from inspire_fast.core.cli import exit_statuses
from inspire_fast.robots import ROBOTS, LoopConfig
from inspire_fast.robots.cameras.base import CameraSpec
from inspire_fast.robots.cameras.registry import camera_spec_of
from inspire_fast.robots.preflight.check import check_workstation
from inspire_fast.robots.preflight.finding import Finding, judged, messages, table
from inspire_fast.robots.preflight.workstation import Workstation

_CONNECT_S, _REQUEST_S = 10.0, 60.0


def parser() -> argparse.ArgumentParser:
    """The command line. What follows the program's file belongs to that program."""
    made = argparse.ArgumentParser(
        prog="inspire-check-robot", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--seconds", type=float, default=3.0, help="of watching cameras and arm")
    add("--requests", type=int, default=10, help="to the policy; nobody executes the actions")
    add("--robot", choices=sorted(ROBOTS), help="without a program: the robot")
    add("--policy", default="", help="without a program: address of the server; empty: none")
    add("--camera", action="append", default=[], metavar="KEY=CAMERA", help="without a program: a camera, see docs")
    add("--prompt", default="check", help="without a program: the instruction")
    add("--execute", type=int, default=8, help="without a program: actions of each chunk")
    add("--execution", default="synchronous", help="without a program: way of executing chunks")
    add("program", nargs="?", type=Path, help="Python file with `workstation(options)`")
    add("options", nargs=argparse.REMAINDER, help="of the program")
    return made


def station_of(args: argparse.Namespace) -> Workstation:
    """The workstation of a program, or of the options.

    Raises:
        ValueError: no such program, or neither program nor robot.
    """
    if args.program is not None:
        return _of_program(args.program, args.options)
    if args.robot is None:
        raise ValueError("Give a robot's program (examples/franka/main.py) with its options, or --robot and --camera.")
    robot, cameras = ROBOTS[args.robot], dict[str, CameraSpec]()
    for text in args.camera:
        key, equals, which = text.partition("=")
        if not equals or key not in (*robot.cameras, *robot.unused_cameras):
            known = ", ".join((*robot.cameras, *robot.unused_cameras))
            raise ValueError(f"--camera is KEY=CAMERA with one of the keys {known}; got {text!r}.")
        cameras[key] = camera_spec_of(which)
    loop = LoopConfig(execute=args.execute, max_steps=1, execution=args.execution, control_hz=robot.control_hz)
    return Workstation(robot=robot, cameras=cameras, policy=args.policy, loop=loop, prompt=args.prompt)


def _of_program(program: Path, options: Sequence[str]) -> Workstation:
    if program.suffix != ".py" or not program.is_file():
        raise ValueError(f"{program} is no Python file.")
    place = program.resolve()
    # By its name below this folder: the arm's process imports it by that name, too.
    root = Path.cwd() if place.is_relative_to(Path.cwd()) else place.parent
    sys.path.insert(0, str(root))
    module = importlib.import_module(".".join(place.relative_to(root).with_suffix("").parts))
    if not hasattr(module, "workstation"):
        raise ValueError(f"{program} has no function `workstation(options)`; examples/franka/main.py has one.")
    return module.workstation(list(options))


def check(station: Workstation, *, seconds: float, requests: int) -> list[Finding]:
    """Everything, and whether keys will be read."""
    terminal = judged(
        "operator",
        "keys",
        "a terminal" if sys.stdin is not None and sys.stdin.isatty() else "no terminal: no key will be read",
        warns=sys.stdin is None or not sys.stdin.isatty(),
        do="Run the program in a terminal, so that a person can pause and stop it by key.",
    )
    if not station.policy:
        return [*check_workstation(station, None, seconds=seconds), terminal]
    try:
        policy = PolicyClient(station.policy, connect_timeout_s=_CONNECT_S, request_timeout_s=_REQUEST_S)
    except PolicyClientError as error:
        do = "Start the server, or give its address."
        lost = judged("policy", "server", str(error), fails=True, do=do)
        return [*check_workstation(station, None, seconds=seconds), lost, terminal]
    with policy:
        return [*check_workstation(station, policy, seconds=seconds, requests=requests), terminal]


def main(args: Sequence[str] | None = None) -> None:
    """Ends with status 1 if something failed. Needs the base install only.

    Raises:
        SystemExit: see above.
    """
    given = parser().parse_args(args)
    logging.basicConfig(level=logging.ERROR)
    with exit_statuses():
        if not given.seconds > 0 or given.requests < 1:
            raise ValueError(f"--seconds must be > 0 and --requests at least 1; got {given.seconds}, {given.requests}.")
        station = station_of(given)
        found = check(station, seconds=given.seconds, requests=given.requests)
    print(table(found))
    if told := messages(found):
        print(f"\n{told}")
    failed = sum(one.level == "FAIL" for one in found)
    print(f"\n{'Ready' if not failed else f'Not ready: {failed} failed'}; nothing was moved.")
    if failed:
        raise SystemExit(1)
