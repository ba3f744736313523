"""The WidowX 250 of BridgeData V2, as its public datasets, SimplerEnv and openpi's client there have it.

State, all in the frame of the arm's base (Open X-Embodiment's `POS_EULER`): end effector x, y, z (m); roll, pitch, yaw
(rad) of its rotation relative to pointing straight down (`R @ POINTING_DOWN.T`, Bridge's own controller); a number that
is always 0; the gripper, 0 closed .. 1 open. Action: the change of x, y, z (m) and of roll, pitch, yaw (rad) in one
step, and the gripper, 0 closed .. 1 open, which is opened or closed at 0.5. 5 Hz.

Columns are those of the LeRobot conversion `bridge_orig` (IPEC-COMMUNITY); keys those of SimplerEnv's openpi client.
Direction words follow the base: x away from it, y to its left, z up; the camera looks over the arm's shoulder.

Limits are a tenth of a metre and half a radian per step: the 99 % quantiles of Bridge's actions are 0.04 m and 0.2 rad.
"""

from __future__ import annotations

import numpy as np

from inspire_fast.robots.axes import Axes
from inspire_fast.robots.gripper import GripperSignal
from inspire_fast.robots.rotations import euler_from_matrix, matrix_from_quaternion, vector_from_euler
from inspire_fast.robots.spec import Robot

POINTING_DOWN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
_TURN = 2 * np.pi


def _stay(state: np.ndarray) -> np.ndarray:
    """No motion, and the gripper as it is measured: anything else would drop or crush an object."""
    return np.concatenate([np.zeros(6), state[7:]])


def state_of_pose(position_m: np.ndarray, quaternion: np.ndarray, gripper_open: float) -> np.ndarray:
    """The native state `[8]` of an end effector's pose.

    Args:
        position_m: `[3]`, in the base's frame.
        quaternion: `[4]`, w x y z, of the end effector's axes in the base's frame.
        gripper_open: 0 closed .. 1 open.

    Raises:
        ValueError: not a rotation.
    """
    euler = euler_from_matrix(matrix_from_quaternion(quaternion) @ POINTING_DOWN.T)
    return np.concatenate([position_m, euler, [0.0, gripper_open]]).astype(np.float32)


def controller_action(action: np.ndarray) -> np.ndarray:
    """A native action `[7]` as SimplerEnv's controllers of this arm take it.

    That is the change of position (m), the rotation as a rotation vector (rad) about the base's axes, and the gripper,
    -1 close or 1 open (`arm_pd_ee_target_delta_pose_align2_gripper_pd_joint_pos`).
    """
    gripper = 1.0 if action[6] > 0.5 else -1.0
    return np.concatenate([action[:3], vector_from_euler(action[3:6]), [gripper]])


WIDOWX_BRIDGE = Robot(
    name="widowx_bridge",
    cameras={"observation/primary_image": "base_0_rgb"},
    state_keys={"observation/state": 8},
    state_names=(
        "eef_x_m",
        "eef_y_m",
        "eef_z_m",
        "eef_roll_rad",
        "eef_pitch_rad",
        "eef_yaw_rad",
        "zero",
        "gripper_open",
    ),
    state_low=(-1.0, -1.0, -1.0, -np.pi, -np.pi / 2, -np.pi, -1.0, 0.0),
    state_high=(1.0, 1.0, 1.0, np.pi, np.pi / 2, np.pi, 1.0, 1.0),
    action_names=("dx_m", "dy_m", "dz_m", "droll_rad", "dpitch_rad", "dyaw_rad", "gripper_open"),
    action_low=(-0.1,) * 3 + (-0.5,) * 3 + (0.0,),
    action_high=(0.1,) * 3 + (0.5,) * 3 + (1.0,),
    hold_action=(0.0,) * 6 + (1.0,),
    hold_at=_stay,
    gripper_dims=(6,),
    control_hz=5.0,
    axes=Axes(x=("back", "front"), y=("right", "left"), z=("down", "up")),
    image_orientation="upright",
    columns={"observation.images.image_0": "observation/primary_image", "observation.state": "observation/state"},
    action_column="action",
    gripper=GripperSignal(position=(0, 1, 2), opening={7: 1.0}),
    periods={"eef_roll_rad": _TURN, "eef_yaw_rad": _TURN},
)
