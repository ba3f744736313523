"""Check of a whole workstation before anything moves."""

from __future__ import annotations

from collections.abc import Mapping
import time
from typing import Any

import numpy as np

from inspire_fast.core.policy import Policy
from inspire_fast.robots.arms.base import ArmError
from inspire_fast.robots.arms.process import ArmProcess
from inspire_fast.robots.cameras.resize import resize_with_pad
from inspire_fast.robots.preflight.arm import arm_findings, status_of
from inspire_fast.robots.preflight.cameras import CamerasWatched, camera_findings
from inspire_fast.robots.preflight.finding import Finding, judged
from inspire_fast.robots.preflight.policy import (
    Answered,
    ask,
    contract_findings,
    keys_finding,
    observation_of,
    reply_findings,
)
from inspire_fast.robots.preflight.workstation import ArmPart, Workstation

State = Mapping[str, np.ndarray]
_SIZE = (224, 224)


def check_workstation(
    station: Workstation, policy: Policy | None, *, seconds: float = 3.0, requests: int = 10
) -> list[Finding]:
    """Cameras and arm for some seconds at once, then the policy with what they showed. Nothing is moved.

    Args:
        station: what is checked.
        policy: the server's; None: it is not checked.
        seconds: of watching.
        requests: to the policy.
    """
    watched = CamerasWatched({key: spec.camera for key, spec in station.cameras.items()})
    try:
        watched.wait_for_first()
        found, state = ([], None) if station.arm is None else check_arm(station.arm, seconds)
        if station.arm is None:
            time.sleep(seconds)
    finally:
        watches = watched.end()
    cameras = [
        one
        for key, spec in station.cameras.items()
        for one in camera_findings(key, spec, watches[key], stale_s=station.stale_s)
    ]
    pictures = {key: watch.last for key, watch in watches.items() if watch.last is not None}
    return [*cameras, *found, *_policy(station, policy, pictures, state, requests)]


def check_arm(part: ArmPart, seconds: float) -> tuple[list[Finding], State | None]:
    """Connects an arm, reads it and gives it back; findings, and the native state if there is one."""
    try:
        arm = ArmProcess(part.factory, joints=part.joints, config=part.config, name=part.name)
    except ArmError as error:
        return [judged(part.name, "connected", str(error), fails=True, do="Nothing was moved.")], None
    try:
        watch = arm.watch(seconds)
        return arm_findings(part, arm, watch), part.state(arm.model, status_of(watch))
    except ArmError as error:
        return [judged(part.name, "state", str(error), fails=True, do="Look at the connection to the arm.")], None
    finally:
        arm.close()


def _policy(
    station: Workstation, policy: Policy | None, pictures: Mapping[str, np.ndarray], state: State | None, requests: int
) -> list[Finding]:
    robot = station.robot
    small = {key: resize_with_pad(image, *_SIZE) for key, image in pictures.items()}
    observation: dict[str, Any] = observation_of(robot, small, state, station.prompt)
    found = [keys_finding(robot, observation)]
    if policy is None:
        return found
    found += contract_findings(robot, policy.metadata, station.loop)
    if any(one.level == "FAIL" for one in found):
        return found  # it would refuse the request
    answered = ask(policy, observation, requests)
    if not isinstance(answered, Answered):
        return [*found, answered]
    known = robot.native_state(observation)
    return [*found, *reply_findings(robot, known, answered, station.loop, measured=state is not None)]
