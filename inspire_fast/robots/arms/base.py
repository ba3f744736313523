"""Interface of a joint-controlled arm: what a driver must offer, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from inspire_fast.robots.arms.kinematics import Kinematics
from inspire_fast.robots.arms.limits import MotionLimits


class ArmError(RuntimeError):
    """The arm cannot be commanded: unreachable, stopped by a reflex, or taken over by somebody else."""


@dataclass(frozen=True, kw_only=True)
class ArmModel:
    """What an arm says of itself when it is connected.

    Attributes:
        limits: of its joints, as its maker states them.
        kinematics: from its base to its tip; None if the arm has no model of itself.
        arms: the arms that one driver moves together, in the order of their joints; empty: it is one.
    """

    limits: MotionLimits
    kinematics: Kinematics | None = None
    arms: tuple[ArmModel, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ArmReading:
    """A measurement.

    Attributes:
        q, dq: `[n]` joint positions (rad) and velocities (rad/s).
        time_s: of the measurement, on the arm's own clock, which stands still if the arm sends nothing.
        gripper: 0 open .. 1 closed; 0 where grippers are joints.
    """

    q: np.ndarray
    dq: np.ndarray
    time_s: float
    gripper: float


class Arm(Protocol):
    """A driver. All methods are called from one thread, and raise `ArmError` where the arm cannot do it."""

    def connect(self) -> ArmModel:
        """Connects without moving anything."""
        ...

    def read(self) -> ArmReading:
        """The newest measurement; must return within a few milliseconds while the arm is under control."""
        ...

    def begin(self) -> None:
        """Takes control; the arm stays where it is."""
        ...

    def send(self, q: np.ndarray, dq: np.ndarray) -> None:
        """Sends the joint positions `[n]` and velocities `[n]` of this moment. Called at the stream's rate."""
        ...

    def move_gripper(self, closed: float) -> None:
        """Starts to move the gripper to 0 open .. 1 closed, and returns at once."""
        ...

    def end(self) -> None:
        """Brings the arm to rest and gives control back. Harmless without control."""
        ...

    def close(self) -> None:
        """Disconnects. Calling it twice is harmless."""
        ...
