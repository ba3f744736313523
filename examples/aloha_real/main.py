"""Runs episodes of a policy on both arms of an ALOHA workstation (ROS 1, Interbotix' nodes, 50 Hz).

python examples/aloha_real/main.py --policy 127.0.0.1:8000 --prompt "take the lid off the cup"

Read README.md beside this file before the first motion, and keep `inspire-stop-arms` open in another terminal.
"""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from functools import partial
from typing import Any

from examples.aloha_real.arms import AlohaArms, MotorPositions, guard_of, state_of
from examples.aloha_real.options import CAMERAS, parse
from inspire_fast.client import PolicyClient, PolicyClientError
from inspire_fast.robots import ROBOTS, LoopConfig
from inspire_fast.robots.aloha import motor_targets
from inspire_fast.robots.arms.base import ArmModel
from inspire_fast.robots.arms.environment import ArmEnvironment, StartPose
from inspire_fast.robots.arms.guard import SideBySideGuard
from inspire_fast.robots.arms.limits import Box
from inspire_fast.robots.arms.process import ArmProcess
from inspire_fast.robots.arms.stream import StreamConfig
from inspire_fast.robots.cameras.base import CameraSpec
from inspire_fast.robots.cameras.registry import camera_spec_of
from inspire_fast.robots.cameras.rig import CameraRig
from inspire_fast.robots.control.session import Session, SessionConfig, session_report
from inspire_fast.robots.preflight.workstation import ArmPart, Workstation

ROBOT = ROBOTS["aloha"]
SIZE = (480, 640)  # of ALOHA's cameras, px


def camera_specs(args: argparse.Namespace) -> dict[str, CameraSpec]:
    """Native key -> camera. A topic of ROS is read in a process of its own."""
    texts = {f"images/{name}": str(getattr(args, name)) for name in CAMERAS}
    specs = {key: camera_spec_of(text) for key, text in texts.items()}
    return {
        key: replace(spec, size=SIZE) if texts[key].startswith("ros:") and spec.size is None else spec
        for key, spec in specs.items()
    }


def start_of(args: argparse.Namespace) -> tuple[float, ...]:
    """Start pose of all fourteen motors, rad, with open grippers."""
    import numpy as np

    return tuple(motor_targets(np.array([*args.start, 1.0] * 2)).tolist())


def guarded(args: argparse.Namespace, model: ArmModel) -> SideBySideGuard:
    """The arms' limits, narrowed by the options."""
    if not args.max_lag < args.max_lead:
        raise ValueError(
            "--max-lag must be below --max-lead: a joint that is stuck would never be noticed otherwise, as its target "
            f"stays within --max-lead; got {args.max_lag} and {args.max_lead}."
        )
    box = None if args.no_box else Box(low=tuple(args.box[:3]), high=tuple(args.box[3:]))
    return guard_of(model, speed=args.speed, box=box, max_lead=args.max_lead)


def loop_of(args: argparse.Namespace) -> LoopConfig:
    """Lengths and pace of an episode."""
    return LoopConfig(
        execute=args.execute,
        max_steps=args.max_steps,
        execution=args.execution,
        max_holds=args.max_holds,
        control_hz=ROBOT.control_hz,
    )


def arm_part(args: argparse.Namespace) -> ArmPart:
    """The arms as they are driven."""
    return ArmPart(
        name="aloha",
        factory=partial(AlohaArms, set_modes=args.set_modes),
        joints=14,
        guard=partial(guarded, args),
        state=state_of,
        start=start_of(args),
        config=StreamConfig(rate_hz=args.stream_hz, max_lag=args.max_lag, stale_s=args.stale),
    )


def workstation(options: list[str]) -> Workstation:
    """What `inspire-check-robot examples/aloha_real/main.py OPTIONS` checks; nothing is opened yet."""
    args = parse(__doc__, options)
    return Workstation(
        robot=ROBOT,
        cameras=camera_specs(args),
        policy=args.policy,
        loop=loop_of(args),
        prompt=args.prompt,
        arm=arm_part(args),
        stale_s=args.camera_stale,
    )


def environment_of(args: argparse.Namespace, part: ArmPart, arm: ArmProcess, cameras: CameraRig) -> ArmEnvironment:
    """Takes control of the arms, within narrowed limits."""
    guard = part.guard(arm.model)
    assert part.start is not None
    arm.begin(guard.limits)
    return ArmEnvironment(
        robot=ROBOT,
        arm=arm,
        actuation=MotorPositions(),
        guard=guard,
        cameras=cameras,
        state=partial(state_of, arm.model),
        prompt=args.prompt,
        start=StartPose(q=part.start),
        dry_run=args.dry_run,
    )


def run(args: argparse.Namespace, report: list[dict[str, Any]]) -> None:
    """Connects everything, then runs the episodes. Nothing moves before all of it has been checked."""
    part = arm_part(args)
    with contextlib.ExitStack() as stack:
        policy = stack.enter_context(
            PolicyClient(args.policy, connect_timeout_s=30.0, request_timeout_s=args.request_timeout)
        )
        cameras = CameraRig(camera_specs(args), stale_s=args.camera_stale)
        stack.callback(cameras.close)
        arm = ArmProcess(part.factory, joints=part.joints, config=part.config, name=part.name)
        stack.callback(lambda: report.append({"stream": arm.report}))
        stack.callback(arm.close)
        environment = environment_of(args, part, arm, cameras)
        if not args.yes:
            input(
                f"Both arms will move to their start pose {args.start}. Is the way free? Enter goes on, Ctrl-C ends. "
            )
        config = SessionConfig(
            loop=loop_of(args), prompt=args.prompt, episodes=args.episodes, record=args.record, trace=args.trace
        )
        session = Session(environment=environment, cameras=cameras, policy=policy, say=partial(print, flush=True))
        session.run(config, report)


def main() -> None:
    """Exit status 1: a fault, told in one line."""
    args = parse(__doc__)
    with session_report(args.report, interrupted="the arms hold", faults=(PolicyClientError,)) as report:
        run(args, report)


if __name__ == "__main__":
    main()
