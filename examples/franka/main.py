"""Runs episodes of a policy on a Franka arm.

python examples/franka/main.py --arm 172.16.0.2 --policy 127.0.0.1:8000 --prompt "pick up the cup" \
    --exterior opencv:0 --wrist opencv:2

Read README.md beside this file before the first motion, and keep `inspire-stop-arms` open in another terminal.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
import contextlib
from functools import partial
from typing import Any

import numpy as np

from examples.franka.hand import GripperThread, Hand
from examples.franka.options import box_of, parse
from inspire_fast.client import PolicyClient, PolicyClientError
from inspire_fast.robots import ROBOTS, LoopConfig, Robot
from inspire_fast.robots.arms.actuation import Actuation, DeltaPose, JointPositions, JointVelocities
from inspire_fast.robots.arms.base import Arm, ArmModel
from inspire_fast.robots.arms.environment import ArmEnvironment, StartPose
from inspire_fast.robots.arms.guard import GripperGate, JointGuard
from inspire_fast.robots.arms.kinematics import Kinematics, rotation_vector
from inspire_fast.robots.arms.limits import Box, MotionLimits
from inspire_fast.robots.arms.process import ArmProcess
from inspire_fast.robots.arms.shared import ArmStatus
from inspire_fast.robots.arms.stream import StreamConfig
from inspire_fast.robots.cameras.base import CameraSpec
from inspire_fast.robots.cameras.registry import camera_spec_of
from inspire_fast.robots.cameras.rig import CameraRig
from inspire_fast.robots.control.session import Session, SessionConfig, session_report
from inspire_fast.robots.franka import end_effector_state
from inspire_fast.robots.preflight.workstation import ArmPart, Workstation


def make_arm(args: argparse.Namespace) -> Arm:
    """The driver, in the process that drives the arm."""
    if args.backend == "franky":
        from examples.franka.franky_driver import FrankyArm as Driver
        from examples.franka.franky_driver import franka_hand
    else:
        from examples.franka.franka_rs_driver import FrankaRsArm as Driver
        from examples.franka.franka_rs_driver import franka_hand
    return Driver(
        args.arm, realtime=not args.no_realtime, gripper=_gripper(args.gripper, franka_hand), recover=args.recover
    )


def _gripper(text: str, franka_hand: Callable[[Any], Hand]) -> GripperThread | None:
    if text.startswith("robotiq:"):
        from examples.franka.robotiq import Robotiq

        return GripperThread(lambda _: Robotiq(text.partition(":")[2]))
    if text not in ("hand", "none"):
        raise ValueError(f"--gripper is `hand`, `robotiq:PORT` or `none`; got {text!r}.")
    return GripperThread(franka_hand) if text == "hand" else None


def state_parts(robot: Robot, kinematics: Kinematics, status: ArmStatus) -> Mapping[str, np.ndarray]:
    """Status of the arm -> the robot's native state."""
    if robot.name == "franka_delta_pose":
        return {"observation/state": end_effector_state(kinematics.pose(status.q), status.gripper)}
    return {
        "observation/joint_position": status.q.astype(np.float32),
        "observation/gripper_position": np.array([status.gripper], np.float32),
    }


def kinematics_of(model: ArmModel) -> Kinematics:
    """The arm's own; both drivers have one."""
    assert model.kinematics is not None
    return model.kinematics


def actuation_of(robot: Robot, kinematics: Kinematics, limits: MotionLimits, start: tuple[float, ...]) -> Actuation:
    """What the robot's actions mean in joint targets."""
    if robot.name == "franka_delta_pose":
        return DeltaPose(kinematics, limits, np.array(start))
    return JointVelocities() if robot.name == "droid" else JointPositions()


def guard_of(args: argparse.Namespace, model: ArmModel) -> JointGuard:
    """The arm's limits, narrowed by the options."""
    limits = model.limits.narrowed(fraction=args.speed, box=Box(**box_of(args.box)))
    limits.require_inside(np.array(args.start), "The start pose")
    return JointGuard(limits=limits, kinematics=model.kinematics)


def environment_of(args: argparse.Namespace, arm: ArmProcess, cameras: CameraRig) -> ArmEnvironment:
    """Takes control of the arm, within narrowed limits."""
    robot, kinematics = ROBOTS[args.robot], kinematics_of(arm.model)
    guard = guard_of(args, arm.model)
    arm.begin(guard.limits)
    return ArmEnvironment(
        robot=robot,
        arm=arm,
        actuation=actuation_of(robot, kinematics, guard.limits, args.start),
        guard=guard,
        cameras=cameras,
        state=partial(state_parts, robot, kinematics),
        prompt=args.prompt,
        start=StartPose(q=tuple(args.start)),
        gripper=GripperGate(),
        dry_run=args.dry_run,
    )


def tip_position(arm: ArmProcess) -> Mapping[str, np.ndarray]:
    """Position and rotation vector of the end effector: labels by hindsight need it, DROID's state does not have it."""
    pose = kinematics_of(arm.model).pose(arm.status().q)
    return {"cartesian_position": np.concatenate([pose[:3, 3], rotation_vector(pose[:3, :3])])}


def camera_specs(args: argparse.Namespace) -> dict[str, CameraSpec]:
    """Native key -> camera."""
    cameras = (camera_spec_of(args.exterior), camera_spec_of(args.wrist))
    return dict(zip(sorted(ROBOTS[args.robot].cameras), cameras, strict=True))


def loop_of(args: argparse.Namespace) -> LoopConfig:
    """Lengths and pace of an episode."""
    return LoopConfig(
        execute=args.execute,
        max_steps=args.max_steps,
        execution=args.execution,
        max_holds=args.max_holds,
        control_hz=ROBOTS[args.robot].control_hz,
    )


def arm_part(args: argparse.Namespace) -> ArmPart:
    """The arm as it is driven."""
    robot = ROBOTS[args.robot]
    return ArmPart(
        name=f"franka-{args.arm}",
        factory=partial(make_arm, args),
        joints=7,
        guard=partial(guard_of, args),
        state=lambda model, status: state_parts(robot, kinematics_of(model), status),
        start=tuple(args.start),
        config=StreamConfig(max_lag=args.max_lag, stale_s=args.stale),
    )


def workstation(options: list[str]) -> Workstation:
    """What `inspire-check-robot examples/franka/main.py OPTIONS` checks; nothing is opened yet."""
    args = parse(__doc__, options)
    return Workstation(
        robot=ROBOTS[args.robot],
        cameras=camera_specs(args),
        policy=args.policy,
        loop=loop_of(args),
        prompt=args.prompt,
        arm=arm_part(args),
    )


def run(args: argparse.Namespace, report: list[dict[str, Any]]) -> None:
    """Connects everything, then runs the episodes. Nothing moves before all of it has been checked."""
    part = arm_part(args)
    with contextlib.ExitStack() as stack:
        policy = stack.enter_context(
            PolicyClient(args.policy, connect_timeout_s=30.0, request_timeout_s=args.request_timeout)
        )
        cameras = CameraRig(camera_specs(args))
        stack.callback(cameras.close)
        arm = ArmProcess(part.factory, joints=part.joints, config=part.config, name=part.name)
        stack.callback(lambda: report.append({"stream": arm.report}))
        stack.callback(arm.close)
        environment = environment_of(args, arm, cameras)
        if not args.yes:
            input(f"The arm will move to its start pose {args.start}. Is its way free? Enter goes on, Ctrl-C ends. ")
        session = Session(
            environment=environment,
            cameras=cameras,
            policy=policy,
            say=partial(print, flush=True),
            extra=partial(tip_position, arm),
        )
        config = SessionConfig(
            loop=loop_of(args), prompt=args.prompt, episodes=args.episodes, record=args.record, trace=args.trace
        )
        session.run(config, report)


def main() -> None:
    """Exit status 1: a fault, told in one line."""
    args = parse(__doc__)
    with session_report(args.report, interrupted="the arm holds", faults=(PolicyClientError,)) as report:
        run(args, report)


if __name__ == "__main__":
    main()
