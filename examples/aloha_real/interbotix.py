"""One arm of ALOHA by the topics and services of Interbotix' `xs_sdk` node (ROS 1).

Needs `rospy`, `sensor_msgs` and Interbotix' own `interbotix_xs_msgs`, which a workspace on the workstation has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from inspire_fast.robots.arms.base import ArmError, ArmModel
from inspire_fast.robots.arms.kinematics import Kinematics, read_urdf
from inspire_fast.robots.arms.limits import MotionLimits, joined
from inspire_fast.robots.ros import ros

JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
MODES = {"arm": "position", "gripper": "current_based_position"}
_SERVICE_S, _FIRST_S = 5.0, 3.0
# Not in the URDF: our choice. ALOHA's recorded demonstrations move faster than this in few steps.
_ACCELERATION, _JERK = 20.0, 400.0
# The gripper's motor: its range with some slack for wear, and what XM430-W350 can do.
_GRIPPER_LOW, _GRIPPER_HIGH, _GRIPPER_VELOCITY, _GRIPPER_ACCELERATION, _GRIPPER_JERK = -0.95, 1.8, 4.8, 60.0, 2000.0


class InterbotixArm:
    """A ViperX 300 and its gripper, as seven joints: the gripper's is the angle of its motor.

    Args:
        name: namespace of the arm's node, `puppet_left`.
        set_modes: set the operating modes where they differ. The motors go limp for a moment.
    """

    def __init__(self, name: str, *, set_modes: bool = False) -> None:
        self.name, self._set_modes = name, set_modes
        self._state: Any = None
        self._subscriber: Any = None
        self._group: Any = None
        self._single: Any = None
        self._indices: list[int] = []

    def connect(self) -> ArmModel:
        """Asks the node for the arm's limits and waits for its first state; moves nothing."""
        rospy, messages = ros("rospy"), ros("interbotix_xs_msgs.msg")
        info = self._call("get_robot_info", "RobotInfo", cmd_type="group", name="arm")
        if tuple(info.joint_names) != JOINTS:
            raise ArmError(f"{self.name} has the joints {info.joint_names}; a ViperX 300 6DOF has {JOINTS}.")
        self._subscriber = rospy.Subscriber(
            f"/{self.name}/joint_states", ros("sensor_msgs.msg").JointState, self._take, queue_size=1, tcp_nodelay=True
        )
        self._group = rospy.Publisher(
            f"/{self.name}/commands/joint_group", messages.JointGroupCommand, queue_size=1, tcp_nodelay=True
        )
        self._single = rospy.Publisher(
            f"/{self.name}/commands/joint_single", messages.JointSingleCommand, queue_size=1, tcp_nodelay=True
        )
        self._wait(lambda: self._state is not None, f"no state of {self.name} came on /{self.name}/joint_states")
        names = list(self._state.name)
        if missing := [name for name in (*JOINTS, "gripper") if name not in names]:
            raise ArmError(f"The state of {self.name} lacks {missing}; it has {names}.")
        self._indices = [names.index(name) for name in (*JOINTS, "gripper")]
        return ArmModel(limits=self._limits(info), kinematics=self._kinematics())

    def measured(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Positions `[7]` (rad), velocities `[7]` (rad/s) and the time of the newest state, on the node's clock."""
        state = self._state
        q = np.array([state.position[index] for index in self._indices])
        dq = np.array([state.velocity[index] for index in self._indices]) if state.velocity else np.zeros(7)
        return q, dq, state.header.stamp.to_sec()

    def begin(self) -> None:
        """Sets the modes if that is allowed, and switches the motors on where they are."""
        for kind, name in (("group", "arm"), ("single", "gripper")):
            mode = self._call("get_robot_info", "RobotInfo", cmd_type=kind, name=name).mode
            if mode == MODES[name]:
                continue
            if not self._set_modes:
                raise ArmError(
                    f"The {name} of {self.name} is in operating mode {mode!r}, not {MODES[name]!r}. Put both arms into "
                    "their sleep pose, where they may go limp for a moment, and start again with --set-modes."
                )
            self._call(
                "set_operating_modes",
                "OperatingModes",
                cmd_type=kind,
                name=name,
                mode=MODES[name],
                profile_type="velocity",
                profile_velocity=0,
                profile_acceleration=0,
            )
        for kind, name in (("group", "arm"), ("single", "gripper")):
            self._call("torque_enable", "TorqueEnable", cmd_type=kind, name=name, enable=True)
        self._wait(self._heard, f"the node of {self.name} does not listen to its commands")

    def send(self, q: np.ndarray) -> None:
        """Sends the positions `[7]` of this moment; returns at once."""
        if not self._heard():
            raise ArmError(f"The node of {self.name} does not listen any more: it has ended, or the network is down.")
        self._group.publish(name="arm", cmd=q[:6].astype(np.float32).tolist())
        self._single.publish(name="gripper", cmd=float(q[6]))

    def close(self) -> None:
        """Ends the topics. The motors keep their torque and their last target: without it the arm would fall."""
        for topic in (self._subscriber, self._group, self._single):
            if topic is not None:
                topic.unregister()
        self._subscriber = self._group = self._single = None

    def _take(self, message: Any) -> None:
        self._state = message

    def _heard(self) -> bool:
        return self._group.get_num_connections() > 0 and self._single.get_num_connections() > 0

    def _wait(self, holds: Callable[[], bool], otherwise: str) -> None:
        rospy = ros("rospy")
        end = rospy.get_time() + _FIRST_S
        while not holds():
            if rospy.get_time() > end:
                raise ArmError(f"Within {_FIRST_S:g} s {otherwise}.")
            rospy.sleep(0.02)

    def _call(self, service: str, kind: str, /, **request: Any) -> Any:
        rospy, service = ros("rospy"), f"/{self.name}/{service}"
        try:
            rospy.wait_for_service(service, timeout=_SERVICE_S)
            return rospy.ServiceProxy(service, getattr(ros("interbotix_xs_msgs.srv"), kind))(**request)
        except (rospy.ROSException, rospy.ServiceException) as error:
            raise ArmError(
                f"The service {service} does not answer: {error}. Is the node of {self.name} running (xs_sdk), and its "
                "arm switched on?"
            ) from error

    def _limits(self, info: Any) -> MotionLimits:
        arm = MotionLimits(
            names=tuple(f"{self.name}/{name}" for name in JOINTS),
            low=np.array(info.joint_lower_limits),
            high=np.array(info.joint_upper_limits),
            velocity=np.array(info.joint_velocity_limits),
            acceleration=np.full(6, _ACCELERATION),
            jerk=np.full(6, _JERK),
        )
        gripper = MotionLimits(
            names=(f"{self.name}/gripper",),
            low=np.array([_GRIPPER_LOW]),
            high=np.array([_GRIPPER_HIGH]),
            velocity=np.array([_GRIPPER_VELOCITY]),
            acceleration=np.array([_GRIPPER_ACCELERATION]),
            jerk=np.array([_GRIPPER_JERK]),
            grippers=(0,),
        )
        return joined(arm, gripper)

    def _kinematics(self) -> Kinematics | None:
        urdf = ros("rospy").get_param(f"/{self.name}/robot_description", "")
        try:
            return read_urdf(urdf, tip=f"{self.name}/ee_gripper_link") if urdf else None
        except ValueError as error:
            raise ArmError(f"The URDF at /{self.name}/robot_description: {error}") from error
