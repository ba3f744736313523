"""Driver of a Franka arm by `franky` (libfranka 0.21: FR3, FCI version 10): joint impedance tracking at 1 kHz."""

from __future__ import annotations

import re

import franky  # pyright: ignore[reportMissingImports]
import numpy as np

from examples.franka.hand import FrankaHand, GripperThread
from examples.franka.model import FR3, limits_of, with_tool
from inspire_fast.robots.arms.base import ArmError, ArmModel, ArmReading
from inspire_fast.robots.arms.kinematics import read_urdf

# Stiffness of the joints, Nm/rad: soft enough to give way to a hand, stiff enough to follow 1 rad/s within 0.1 rad.
STIFFNESS = (600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0)
_ERRORS = (franky.ControlException, franky.CommandException, franky.NetworkException, franky.Exception)


class FrankyArm:
    """See `Arm`.

    Args:
        host: address of the control box.
        realtime: refuse to run without a real-time kernel.
        gripper: what opens and closes; None: no gripper.
        recover: clear errors of an earlier reflex before the start.
    """

    def __init__(
        self, host: str, *, realtime: bool = True, gripper: GripperThread | None = None, recover: bool = False
    ) -> None:
        self._host, self._realtime, self._gripper, self._recover = host, realtime, gripper, recover
        self._motion = franky.JointImpedanceTrackingMotion(stiffness=np.array(STIFFNESS))
        self._robot: franky.Robot | None = None

    def connect(self) -> ArmModel:
        """See `Arm`."""
        config = franky.RealtimeConfig.Enforce if self._realtime else franky.RealtimeConfig.Ignore
        try:
            self._robot = robot = franky.Robot(self._host, realtime_config=config)
            if robot.has_errors and not (self._recover and robot.recover_from_errors()):
                raise ArmError(
                    f"The arm reports {robot.state.current_errors}. Make sure that its way is free, then start again "
                    "with --recover."
                )
            state, urdf = robot.state, robot.model_urdf
        except _ERRORS as error:
            raise ArmError(
                f"No Franka at {self._host}: {error}. Is it switched on, unlocked, and is FCI active in Desk? Without "
                "a real-time kernel add --no-realtime."
            ) from error
        if self._gripper is not None:
            self._gripper.connect(robot)
        chain = with_tool(read_urdf(urdf, tip=flange_of(urdf)), np.array(state.q), np.array(state.O_T_EE.matrix))
        return ArmModel(limits=limits_of(FR3, chain), kinematics=chain)

    def read(self) -> ArmReading:
        """See `Arm`."""
        try:
            state = self._connected.state
        except _ERRORS as error:
            raise ArmError(f"The arm does not answer: {error}") from error
        closed = 0.0 if self._gripper is None else self._gripper.closed
        return ArmReading(q=np.array(state.q), dq=np.array(state.dq), time_s=state.time.to_sec(), gripper=closed)

    def begin(self) -> None:
        """See `Arm`."""
        robot = self._connected
        try:
            self._motion.set_reference(franky.JointReference(q=np.array(robot.current_joint_positions)))
            robot.move(self._motion, asynchronous=True)
        except _ERRORS as error:
            raise ArmError(f"The arm does not give control: {error}") from error

    def send(self, q: np.ndarray, dq: np.ndarray) -> None:
        """See `Arm`."""
        robot = self._connected
        try:
            if not robot.is_in_control:
                robot.poll_motion()  # raises why
                raise ArmError("The arm's controller has ended the motion.")
            self._motion.set_reference(franky.JointReference(q=q, dq=dq))
        except _ERRORS as error:
            raise ArmError(f"The arm's controller has ended the motion: {error}") from error

    def move_gripper(self, closed: float) -> None:
        """See `Arm`."""
        if self._gripper is not None:
            self._gripper.move(closed)

    def end(self) -> None:
        """See `Arm`. The arm is at rest already; a law of pure damping takes over, then its own brakes."""
        robot = self._robot
        if robot is None or not robot.is_in_control:
            return
        try:
            robot.move(franky.TorqueStopMotion(), asynchronous=True)
            if not robot.join_motion(timeout=3.0):
                robot.stop()
        except _ERRORS as error:
            raise ArmError(f"The arm did not come to rest by itself: {error}") from error

    def close(self) -> None:
        """See `Arm`."""
        self._robot = None
        if self._gripper is not None:
            self._gripper.close()

    @property
    def _connected(self) -> franky.Robot:
        if self._robot is None:
            raise ArmError("The arm is not connected.")
        return self._robot


def franka_hand(robot: franky.Robot) -> FrankaHand:
    """The arm's own gripper."""
    return FrankaHand(franky.Gripper(robot.fci_hostname), lambda hand: (hand.width, hand.max_width))


def flange_of(urdf: str) -> str:
    """The flange's name in a Franka's URDF: `link8`, with or without the arm's own prefix.

    Raises:
        ArmError: there is none.
    """
    found = re.search(r'<link\s+name="([^"]*link8)"', urdf)
    if found is None:
        raise ArmError("The URDF that the arm serves has no link8, a Franka's flange.")
    return found[1]
