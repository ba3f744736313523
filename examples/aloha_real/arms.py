"""Both arms of ALOHA as one arm of fourteen joints: driver, limits, actions and state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from examples.aloha_real.interbotix import InterbotixArm
from inspire_fast.robots.aloha import action_of_motors, motor_targets, state_of_motors
from inspire_fast.robots.arms.actuation import Actuation
from inspire_fast.robots.arms.base import ArmError, ArmModel, ArmReading
from inspire_fast.robots.arms.guard import JointGuard, SideBySideGuard
from inspire_fast.robots.arms.limits import Box, MotionLimits, joined
from inspire_fast.robots.arms.shared import ArmStatus
from inspire_fast.robots.ros import RosError, start_node

NAMES = ("puppet_left", "puppet_right")


class AlohaArms:
    """See `Arm`: both arms in one process, so that they are commanded, stopped and lost together.

    Args:
        set_modes: see `InterbotixArm`.
    """

    def __init__(self, *, set_modes: bool = False) -> None:
        self._arms = [InterbotixArm(name, set_modes=set_modes) for name in NAMES]

    def connect(self) -> ArmModel:
        """See `Arm`."""
        try:
            start_node("inspire_fast_arms")
            models = tuple(arm.connect() for arm in self._arms)
        except (RosError, ImportError) as error:
            raise ArmError(str(error)) from error
        return ArmModel(limits=joined(*(model.limits for model in models)), arms=models)

    def read(self) -> ArmReading:
        """See `Arm`. The older of the two states counts: an arm that says nothing is stale, whatever the other says."""
        q, dq, times_s = zip(*(arm.measured() for arm in self._arms), strict=True)
        return ArmReading(q=np.concatenate(q), dq=np.concatenate(dq), time_s=min(times_s), gripper=0.0)

    def begin(self) -> None:
        """See `Arm`."""
        for arm in self._arms:
            arm.begin()

    def send(self, q: np.ndarray, dq: np.ndarray) -> None:
        """See `Arm`. The motors' own controller makes the velocities."""
        del dq
        for arm, part in zip(self._arms, np.split(q, 2), strict=True):
            arm.send(part)

    def move_gripper(self, closed: float) -> None:
        """See `Arm`: grippers are joints here."""

    def end(self) -> None:
        """See `Arm`. Nothing to do: position control holds the last target, and without torque the arms would fall."""

    def close(self) -> None:
        """See `Arm`."""
        for arm in self._arms:
            arm.close()


class MotorPositions(Actuation):
    """ALOHA's actions: twelve joint targets (rad), and two grippers as shares of their motors' range."""

    with_grippers = True

    def target(self, action: np.ndarray, measured: np.ndarray, planned: np.ndarray) -> np.ndarray:
        """See `Actuation`."""
        del measured, planned
        return motor_targets(action)

    def action(self, target: np.ndarray, measured: np.ndarray, planned: np.ndarray) -> np.ndarray:
        """See `Actuation`."""
        del measured, planned
        return action_of_motors(target)


def guard_of(model: ArmModel, *, speed: float, box: Box | None, max_lead: float = 0.25) -> SideBySideGuard:
    """A guard per arm: the arm's speed is narrowed, its gripper's is not.

    Args:
        model: of both arms.
        speed: share of the limits of velocity, acceleration and jerk.
        box: for the tip of each arm, in its own base frame (x forward, y left, z up); None: none.
        max_lead: see `JointGuard`.
    """
    return SideBySideGuard(
        parts={
            name: JointGuard(limits=_narrowed(one.limits, speed, box), kinematics=one.kinematics, max_lead=max_lead)
            for name, one in zip(NAMES, model.arms, strict=True)
        }
    )


def state_of(model: ArmModel, status: ArmStatus) -> Mapping[str, np.ndarray]:
    """Status of the arms -> the native state."""
    del model
    return {"state": state_of_motors(status.q)}


def _narrowed(limits: MotionLimits, speed: float, box: Box | None) -> MotionLimits:
    slow = limits.narrowed(fraction=speed, box=box)
    return replace(
        slow,
        velocity=np.where(limits.arm, slow.velocity, limits.velocity),
        acceleration=np.where(limits.arm, slow.acceleration, limits.acceleration),
        jerk=np.where(limits.arm, slow.jerk, limits.jerk),
    )
