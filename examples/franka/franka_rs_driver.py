"""Driver of a Franka arm by `franka-rs` (FR3 by FCI version 10, older Pandas by version 5): second backend."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from examples.franka.hand import FrankaHand, GripperThread
from examples.franka.model import FR3, NAMES, PANDA, limits_of, with_tool
from inspire_fast.robots.arms.base import ArmError, ArmModel, ArmReading
from inspire_fast.robots.arms.kinematics import Kinematics

franka: Any = importlib.import_module("franka")  # by its name: checkers of types take this folder for it

# Share of the robot's own limits that its generator may use; the stream has been limited before.
_FRACTION = 0.9


class FrankaRsArm:
    """See `Arm`; the arguments are those of `FrankyArm`."""

    def __init__(
        self, host: str, *, realtime: bool = True, gripper: GripperThread | None = None, recover: bool = False
    ) -> None:
        self._host, self._realtime, self._gripper, self._recover = host, realtime, gripper, recover
        self._robot: Any = None
        self._targets: Any = None

    def connect(self) -> ArmModel:
        """See `Arm`."""
        try:
            self._robot = robot = franka.Robot(self._host, realtime="enforce" if self._realtime else "ignore")
            if self._recover:
                robot.automatic_error_recovery()
            state, model = robot.read_once(), robot.model()
        except franka.FrankaError as error:
            raise ArmError(
                f"No Franka at {self._host}: {error}. Is it switched on, unlocked, and is FCI active in Desk? Without "
                "a real-time kernel add --no-realtime."
            ) from error
        if state.current_errors:
            raise ArmError(
                f"The arm reports {state.current_errors}. Make sure that its way is free, then start again with "
                "--recover."
            )
        if self._gripper is not None:
            self._gripper.connect(robot)
        sheet = FR3 if robot.fci_version >= 10 else PANDA
        chain = with_tool(_chain(model, sheet.low, sheet.high, sheet.velocity), state.q, state.O_T_EE)
        return ArmModel(limits=limits_of(sheet, chain), kinematics=chain)

    def read(self) -> ArmReading:
        """See `Arm`."""
        try:
            state = self._connected.read_once() if self._targets is None else self._targets.state()
        except franka.FrankaError as error:
            raise ArmError(f"The arm does not answer: {error}") from error
        closed = 0.0 if self._gripper is None else self._gripper.closed
        return ArmReading(q=np.array(state.q), dq=np.array(state.dq), time_s=float(state.time), gripper=closed)

    def begin(self) -> None:
        """See `Arm`."""
        try:
            # The whole workspace is allowed to this arm: what bounds it is the stream's limits.
            self._targets = self._connected.joint_targets(fraction=_FRACTION, max_deviation=2 * np.pi)
            self._targets.__enter__()
        except franka.FrankaError as error:
            raise ArmError(f"The arm does not give control: {error}") from error

    def send(self, q: np.ndarray, dq: np.ndarray) -> None:
        """See `Arm`. The backend's own generator makes the velocities."""
        del dq
        targets = self._targets
        if targets is None:
            raise ArmError("The arm is not under control.")
        try:
            if not targets.running:
                targets.stop()  # raises why
                raise ArmError("The arm's controller has ended the motion.")
            targets.move_to(q)
        except franka.FrankaError as error:
            raise ArmError(f"The arm's controller has ended the motion: {error}") from error

    def move_gripper(self, closed: float) -> None:
        """See `Arm`."""
        if self._gripper is not None:
            self._gripper.move(closed)

    def end(self) -> None:
        """See `Arm`."""
        targets, self._targets = self._targets, None
        if targets is None:
            return
        try:
            targets.stop()
        except franka.FrankaError as error:
            raise ArmError(f"The arm did not come to rest by itself: {error}") from error

    def close(self) -> None:
        """See `Arm`."""
        self._robot = None
        if self._gripper is not None:
            self._gripper.close()

    @property
    def _connected(self) -> Any:
        if self._robot is None:
            raise ArmError("The arm is not connected.")
        return self._robot


def franka_hand(robot: Any) -> FrankaHand:
    """The arm's own gripper, by the arm's connection: the control box takes one only."""

    def width_m(hand: Any) -> tuple[float, float]:
        state = hand.read_once()
        return state.width, state.max_width

    return FrankaHand(robot.gripper(), width_m)


def _chain(model: Any, low: np.ndarray, high: np.ndarray, velocity: np.ndarray) -> Kinematics:
    """The arm's own model as a chain: every joint turns about the z axis of its frame."""
    zeros = np.zeros(7)
    frames = [np.array(model.pose(name, zeros)) for name in (*NAMES, "flange")]
    before = [np.eye(4), *frames[:-1]]
    origins = np.array([np.linalg.inv(last) @ frame for last, frame in zip(before, frames, strict=True)])
    return Kinematics(
        names=NAMES,
        origins=origins[:-1],
        axes=np.tile([0.0, 0.0, 1.0], (7, 1)),
        slides=np.zeros(7, bool),
        low=low,
        high=high,
        velocity=velocity,
        tip=origins[-1],
    )
