"""The mobile manipulator of RT-1 ("Google Robot"), as its public dataset, SimplerEnv and openpi's client there have it.

State, all in the frame of the robot's base (Open X-Embodiment's `POS_QUAT`): end effector x, y, z (m); its rotation as
a quaternion x y z w; the gripper, 0 open .. 1 *closed*. Action: the change of x, y, z (m) and of roll, pitch, yaw (rad)
in one step, and the gripper, 0 closed .. 1 *open*: state and action count it in opposite senses. 3 Hz.

Columns are those of the LeRobot conversion `fractal20220817_data` (IPEC-COMMUNITY); keys those of SimplerEnv's openpi
client. Direction words follow the base: x away from it, y to its left, z up.

The real robot's gripper takes *changes* and moves slowly: `StickyGripper` makes them from the absolute commands of
policies. Limits: RT-1's action space, 1 m and a right angle; the 99 % quantiles of its data are 0.22 m and 0.58 rad.
"""

from __future__ import annotations

import numpy as np

from inspire_fast.robots.axes import Axes
from inspire_fast.robots.gripper import GripperSignal
from inspire_fast.robots.rotations import vector_from_euler
from inspire_fast.robots.spec import Robot

_RIGHT = np.pi / 2


def _stay(state: np.ndarray) -> np.ndarray:
    """No motion, and the gripper as it is measured: the state counts how far it is closed, the action how far open."""
    return np.concatenate([np.zeros(6), 1.0 - state[7:]])


def state_of_pose(position_m: np.ndarray, quaternion: np.ndarray, gripper_open: float) -> np.ndarray:
    """The native state `[8]` of an end effector's pose.

    Args:
        position_m: `[3]`, in the base's frame.
        quaternion: `[4]`, w x y z, of the end effector's axes in the base's frame.
        gripper_open: 0 closed .. 1 open.
    """
    return np.concatenate([position_m, np.roll(quaternion, -1), [1.0 - gripper_open]]).astype(np.float32)


class StickyGripper:
    """Changes of the gripper for one episode, from absolute commands: a decided change is repeated for some steps.

        open wanted        1    1    0    0    0    0    1    1    1
        change, steps=3    0    0    1    1    1    0   -1   -1   -1      1 closes, -1 opens

    A change counts from the first command, then from the last command that was acted on, and is decided beyond 0.5;
    below, it is passed on as it is (SimplerEnv's openpi client; its Octo client counts from the step before).

    Args:
        steps: repetitions, the first step included: 15 in SimplerEnv's own clients, 10 in openpi's and InternVLA-M1's.

    Raises:
        ValueError: `steps` is less than 1.
    """

    def __init__(self, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"A sticky gripper repeats a change for at least 1 step; got {steps}.")
        self._steps, self._left, self._change = steps, 0, 0.0
        self._acted_on: float | None = None

    def next(self, wanted_open: float) -> float:
        """The change to command in this step: 1 closes, -1 opens."""
        if self._acted_on is None:
            self._acted_on = wanted_open
        change = self._acted_on - wanted_open
        if abs(change) > 0.5 and not self._left:
            self._left, self._change, self._acted_on = self._steps, change, wanted_open
        if not self._left:
            return change
        self._left -= 1
        return self._change


def controller_action(action: np.ndarray, gripper_change: float) -> np.ndarray:
    """A native action `[7]` as SimplerEnv's controllers of this robot take it.

    That is the change of position (m), the rotation as a rotation vector (rad) about the base's axes, and the change of
    the gripper, 1 closing (`arm_pd_ee_delta_pose_align_interpolate_by_planner_gripper_pd_joint_target_delta_pos_...`).

    Args:
        action: of the policy.
        gripper_change: of `StickyGripper`.
    """
    return np.concatenate([action[:3], vector_from_euler(action[3:6]), [gripper_change]])


GOOGLE_ROBOT = Robot(
    name="google_robot",
    cameras={"observation/primary_image": "base_0_rgb"},
    state_keys={"observation/state": 8},
    state_names=("eef_x_m", "eef_y_m", "eef_z_m", "eef_qx", "eef_qy", "eef_qz", "eef_qw", "gripper_closed"),
    state_low=(-2.0, -2.0, -2.0, -1.0, -1.0, -1.0, -1.0, 0.0),
    state_high=(2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    action_names=("dx_m", "dy_m", "dz_m", "droll_rad", "dpitch_rad", "dyaw_rad", "gripper_open"),
    action_low=(-1.0,) * 3 + (-_RIGHT,) * 3 + (0.0,),
    action_high=(1.0,) * 3 + (_RIGHT,) * 3 + (1.0,),
    hold_action=(0.0,) * 6 + (1.0,),
    hold_at=_stay,
    gripper_dims=(6,),
    control_hz=3.0,
    axes=Axes(x=("back", "front"), y=("right", "left"), z=("down", "up")),
    image_orientation="upright",
    columns={"observation.images.image": "observation/primary_image", "observation.state": "observation/state"},
    action_column="action",
    gripper=GripperSignal(position=(0, 1, 2), opening={7: -1.0}, opening_at_zero=1.0),
)
