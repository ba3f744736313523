"""Ideal arm without hardware, for tests and for trying the control loop: it is where it was told to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
import time

import numpy as np

from inspire_fast.robots.arms.base import ArmError, ArmModel, ArmReading
from inspire_fast.robots.arms.kinematics import Kinematics
from inspire_fast.robots.arms.limits import MotionLimits


def planar_chain(joints: int = 7, *, length_m: float = 0.15) -> Kinematics:
    """A chain of links of equal length whose joints turn about z and y in turn."""
    origin = np.eye(4)
    origin[0, 3] = length_m
    axes = np.array([[0.0, 0.0, 1.0] if joint % 2 == 0 else [0.0, 1.0, 0.0] for joint in range(joints)])
    return Kinematics(
        names=tuple(f"joint{joint + 1}" for joint in range(joints)),
        origins=np.tile(origin, (joints, 1, 1)),
        axes=axes,
        slides=np.zeros(joints, bool),
        low=np.full(joints, -2.5),
        high=np.full(joints, 2.5),
        velocity=np.full(joints, 2.0),
        tip=origin,
    )


@dataclass
class IdealArm:
    """See `Arm`.

    Attributes:
        joints: number of joints.
        faults: a folder; a file `frozen` there stops the clock, `stuck` the joints, `lost` the connection.
        log: file to which every sent position is appended, one line per tick.
    """

    joints: int = 7
    faults: Path | None = None
    log: Path | None = None
    q: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.q, self._dq, self._closed, self._time_s = np.zeros(self.joints), np.zeros(self.joints), 0.0, 0.0

    def connect(self) -> ArmModel:
        """See `Arm`."""
        self._require_connection()
        chain = planar_chain(self.joints)
        fast = np.full(self.joints, 10.0)
        limits = MotionLimits(
            names=chain.names,
            low=chain.low,
            high=chain.high,
            velocity=chain.velocity,
            acceleration=fast,
            jerk=50 * fast,
        )
        return ArmModel(limits=limits, kinematics=chain)

    def read(self) -> ArmReading:
        """See `Arm`."""
        self._require_connection()
        if not self._has("frozen"):
            self._time_s = time.monotonic()
        return ArmReading(q=self.q.copy(), dq=self._dq.copy(), time_s=self._time_s, gripper=self._closed)

    def begin(self) -> None:
        """See `Arm`."""
        self._require_connection()

    def send(self, q: np.ndarray, dq: np.ndarray) -> None:
        """See `Arm`."""
        self._require_connection()
        if not self._has("stuck"):
            self.q, self._dq = q.copy(), dq.copy()
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"{time.monotonic():.6f} {' '.join(f'{value:.9f}' for value in q)}\n")

    def move_gripper(self, closed: float) -> None:
        """See `Arm`."""
        self._closed = closed

    def end(self) -> None:
        """See `Arm`."""

    def close(self) -> None:
        """See `Arm`."""

    def _has(self, fault: str) -> bool:
        return self.faults is not None and (self.faults / fault).exists()

    def _require_connection(self) -> None:
        if self._has("lost"):
            raise ArmError("The arm does not answer.")
