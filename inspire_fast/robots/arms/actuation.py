"""Actuation: what a native action means in joint positions, and the action that a joint target stands for."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from inspire_fast.robots.arms.kinematics import Kinematics, moved, pose_difference
from inspire_fast.robots.arms.limits import MotionLimits


class Actuation(ABC):
    """Maps native actions without their gripper `[a - 1]` to joint targets `[n]` and back. One object per arm.

    Attributes:
        with_grippers: grippers are joints: the actions are whole, `[a]`.
    """

    with_grippers = False

    @abstractmethod
    def target(self, action: np.ndarray, measured: np.ndarray, planned: np.ndarray) -> np.ndarray:
        """The joint target of an action; `planned` `[n]` is the target before it."""

    @abstractmethod
    def action(self, target: np.ndarray, measured: np.ndarray, planned: np.ndarray) -> np.ndarray:
        """The action that leads to a joint target: what was really sent."""


class JointPositions(Actuation):
    """The action is the joint target, rad."""

    def target(self, action: np.ndarray, measured: np.ndarray, planned: np.ndarray) -> np.ndarray:
        """See `Actuation`."""
        del measured, planned
        return np.array(action, np.float64)

    def action(self, target: np.ndarray, measured: np.ndarray, planned: np.ndarray) -> np.ndarray:
        """See `Actuation`."""
        del measured, planned
        return target


class JointVelocities(Actuation):
    """DROID's normalised joint velocities: the target is the measured position plus `scale` times the action, rad.

    Where the action is zero in every joint the target stays, so that an arm that sags does not creep.
    """

    def __init__(self, scale_rad: float = 0.2) -> None:
        """DROID moves by 0.2 rad per control step at an action of 1."""
        self._scale_rad = scale_rad

    def target(self, action: np.ndarray, measured: np.ndarray, planned: np.ndarray) -> np.ndarray:
        """See `Actuation`."""
        return measured + self._scale_rad * action if np.any(action) else np.array(planned)

    def action(self, target: np.ndarray, measured: np.ndarray, planned: np.ndarray) -> np.ndarray:
        """See `Actuation`."""
        return (target - measured) / self._scale_rad if np.any(target != planned) else np.zeros_like(target)


class DeltaPose(Actuation):
    """Translation (m) and rotation vector (rad) of the tip per step, base frame, added to the commanded pose.

    Adding to the commanded pose and not to the measured one keeps small steps from being lost in an arm's compliance.
    """

    def __init__(self, kinematics: Kinematics, limits: MotionLimits, rest: np.ndarray | None = None) -> None:
        """Takes the arm's model, and the posture to which it tends where the tip leaves it free."""
        self._kinematics, self._limits, self._rest = kinematics, limits, rest

    def target(self, action: np.ndarray, measured: np.ndarray, planned: np.ndarray) -> np.ndarray:
        """See `Actuation`."""
        del measured
        if not np.any(action):
            return np.array(planned)
        pose = moved(self._kinematics.pose(planned), np.asarray(action, np.float64))
        return self._kinematics.inverse(pose, planned, low=self._limits.low, high=self._limits.high, rest=self._rest)

    def action(self, target: np.ndarray, measured: np.ndarray, planned: np.ndarray) -> np.ndarray:
        """See `Actuation`."""
        del measured
        return pose_difference(self._kinematics.pose(planned), self._kinematics.pose(target))
