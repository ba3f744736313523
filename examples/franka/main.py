"""Runs episodes of a policy on a Franka arm.

python examples/franka/main.py --arm 172.16.0.2 --policy 127.0.0.1:8000 --prompt "pick up the cup" \
    --exterior opencv:0 --wrist opencv:2

Read README.md beside this file before the first motion, and keep `inspire-stop-arms` open in another terminal.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
import contextlib
from functools import partial
import json
import logging
import sys
import time
from typing import Any, TextIO

import numpy as np

from examples.franka.hand import FrankaHand, GripperThread, Hand
from examples.franka.options import box_of, parse
from inspire_fast.client import PolicyClient, PolicyClientError
from inspire_fast.core.errors import UnknownNameError
from inspire_fast.robots import ROBOTS, LoopConfig, Robot, SafetyFilter, run_episode
from inspire_fast.robots.arms.actuation import Actuation, DeltaPose, JointPositions, JointVelocities
from inspire_fast.robots.arms.base import Arm, ArmError
from inspire_fast.robots.arms.environment import ArmEnvironment, StartPose
from inspire_fast.robots.arms.guard import GripperGate, JointGuard
from inspire_fast.robots.arms.kinematics import Kinematics
from inspire_fast.robots.arms.limits import Box, MotionLimits
from inspire_fast.robots.arms.process import ArmProcess
from inspire_fast.robots.arms.shared import ArmStatus
from inspire_fast.robots.arms.stream import StreamConfig
from inspire_fast.robots.cameras.base import CameraError
from inspire_fast.robots.cameras.registry import camera_of
from inspire_fast.robots.cameras.rig import CameraRig
from inspire_fast.robots.control.freshness import hold_while_stale
from inspire_fast.robots.control.runtime import Step
from inspire_fast.robots.franka import end_effector_state


def make_arm(args: argparse.Namespace) -> Arm:
    """The driver, in the process that drives the arm."""
    gripper = None if args.gripper == "none" else GripperThread(partial(_hand, args))
    options = {"realtime": not args.no_realtime, "gripper": gripper, "recover": args.recover}
    if args.backend == "franky":
        from examples.franka.franky_driver import FrankyArm

        return FrankyArm(args.arm, **options)
    from examples.franka.franka_rs_driver import FrankaRsArm

    return FrankaRsArm(args.arm, **options)


def _hand(args: argparse.Namespace) -> Hand:
    if args.gripper.startswith("robotiq:"):
        from examples.franka.robotiq import Robotiq

        return Robotiq(args.gripper.partition(":")[2])
    if args.backend == "franky":
        import franky  # pyright: ignore[reportMissingImports]

        return FrankaHand(franky.Gripper(args.arm), lambda hand: (hand.width, hand.max_width))
    from examples.franka.franka_rs_driver import franka

    def width_m(hand: Any) -> tuple[float, float]:
        state = hand.read_once()
        return state.width, state.max_width

    robot = franka.Robot(args.arm, realtime="ignore")
    return FrankaHand(robot.gripper(), width_m)


def state_parts(robot: Robot, kinematics: Kinematics, status: ArmStatus) -> Mapping[str, np.ndarray]:
    """Status of the arm -> the robot's native state."""
    if robot.name == "franka_delta_pose":
        return {"observation/state": end_effector_state(kinematics.pose(status.q), status.gripper)}
    return {
        "observation/joint_position": status.q.astype(np.float32),
        "observation/gripper_position": np.array([status.gripper], np.float32),
    }


def actuation_of(robot: Robot, kinematics: Kinematics, limits: MotionLimits, start: tuple[float, ...]) -> Actuation:
    """What the robot's actions mean in joint targets."""
    if robot.name == "franka_delta_pose":
        return DeltaPose(kinematics, limits, np.array(start))
    return JointVelocities() if robot.name == "droid" else JointPositions()


def environment_of(args: argparse.Namespace, arm: ArmProcess, cameras: CameraRig) -> ArmEnvironment:
    """Takes control of the arm, within narrowed limits."""
    robot, kinematics = ROBOTS[args.robot], arm.model.kinematics
    assert kinematics is not None  # both drivers have one
    limits = arm.model.limits.narrowed(fraction=args.speed, box=Box(**box_of(args.box)))
    limits.require_inside(np.array(args.start), "The start pose")
    arm.begin(limits)
    return ArmEnvironment(
        robot=robot,
        arm=arm,
        actuation=actuation_of(robot, kinematics, limits, args.start),
        guard=JointGuard(limits=limits, kinematics=kinematics),
        cameras=cameras,
        state=partial(state_parts, robot, kinematics),
        prompt=args.prompt,
        start=StartPose(q=tuple(args.start)),
        gripper=GripperGate(),
        dry_run=args.dry_run,
    )


def write_step(trace: TextIO, step: Step) -> None:
    """One line per control step."""
    row = {"time_s": time.monotonic(), "held": step.held, "sent": step.sent.tolist(), "reasons": step.reasons}
    print(json.dumps(row), file=trace, flush=True)


def run(args: argparse.Namespace, report: list[dict[str, Any]]) -> None:
    """Connects everything, then runs the episodes. Nothing moves before all of it has been checked."""
    robot = ROBOTS[args.robot]
    with contextlib.ExitStack() as stack:
        policy = stack.enter_context(
            PolicyClient(args.policy, connect_timeout_s=30.0, request_timeout_s=args.request_timeout)
        )
        keys = dict(zip(sorted(robot.cameras), (args.exterior, args.wrist), strict=True))
        cameras = CameraRig({key: camera_of(spec) for key, spec in keys.items()})
        stack.callback(cameras.close)
        arm = ArmProcess(
            partial(make_arm, args),
            joints=7,
            config=StreamConfig(max_lag=args.max_lag, stale_s=args.stale),
            name=f"franka-{args.arm}",
        )
        stack.callback(lambda: report.append({"stream": arm.report}))
        stack.callback(arm.close)
        environment = environment_of(args, arm, cameras)
        if not args.yes:
            input(f"The arm will move to its start pose {args.start}. Is its way free? Enter goes on, Ctrl-C ends. ")
        config = LoopConfig(
            execute=args.execute,
            max_steps=args.max_steps,
            execution=args.execution,
            max_holds=args.max_holds,
            control_hz=robot.control_hz,
        )
        infer = hold_while_stale(policy.infer, cameras.stale)
        trace = None if args.trace is None else stack.enter_context(args.trace.open("w", encoding="utf-8"))
        for episode in range(args.episodes):
            result = run_episode(
                environment,
                infer,
                config,
                safety=SafetyFilter(robot=robot),
                metadata=policy.metadata,
                episode=episode,
                on_step=None if trace is None else partial(write_step, trace),
            )
            row = {"episode": episode, "stopped": result.stopped, "reason": result.reason, "steps": result.steps}
            report.append({**row, "holds": result.holds, **result.timing, "cameras": cameras.report()})
            print(json.dumps(report[-1]), flush=True)


def main() -> None:
    """Exit status 1: a fault, told in one line."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    args, report = parse(__doc__), []
    try:
        run(args, report)
    except (ArmError, CameraError, PolicyClientError, UnknownNameError, ValueError) as error:
        notes = " ".join(getattr(error, "__notes__", []))
        sys.exit(f"stopped: {error} {notes}".strip())
    except KeyboardInterrupt:
        sys.exit("stopped: Ctrl-C; the arm holds")
    finally:
        if args.report is not None:
            args.report.write_text("".join(json.dumps(row) + "\n" for row in report), encoding="utf-8")


if __name__ == "__main__":
    main()
