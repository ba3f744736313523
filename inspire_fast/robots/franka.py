"""A Franka arm that is commanded by small motions of its end effector, with DROID's cameras and gripper.

State: position of the end effector (m) and rotation vector (rad) from the gripper pointing straight down, both in the
base frame, and the gripper (0 open .. 1 closed). Counted from straight down, the rotation vector stays near zero; from
the base's own axes it would lie at half a turn, where it jumps between + and -.
Action: translation (m) and rotation vector (rad) per control step, base frame, and the gripper's position. 15 Hz.
The largest step, 3 cm and 0.1 rad, is 0.45 m/s and 1.5 rad/s: our choice, a quarter of what the arm could do.

Direction words follow the arm's base frame: x forward, y to the left, z up.
"""

import numpy as np

from inspire_fast.robots.arms.kinematics import rotation, rotation_vector
from inspire_fast.robots.droid import DROID
from inspire_fast.robots.gripper import GripperSignal
from inspire_fast.robots.spec import Robot

_DOWN = np.diag([1.0, -1.0, -1.0])


def end_effector_state(pose: np.ndarray, gripper: float) -> np.ndarray:
    """Pose of the end effector `[4, 4]` (base frame) and gripper (1 = closed) -> native state `[7]`."""
    return np.concatenate([pose[:3, 3], rotation_vector(pose[:3, :3] @ _DOWN.T), [gripper]]).astype(np.float32)


def _stay(state: np.ndarray) -> np.ndarray:
    """No motion, and the gripper as it is measured: 0 would open it and drop the object."""
    return np.concatenate([np.zeros(6), state[6:]])


def _state_after(state: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Translations add up, rotations follow one another; the gripper is where it was told to go."""
    turn = rotation(state[3:6])
    for action in actions:
        turn = rotation(action[3:6]) @ turn
    return np.concatenate([state[:3] + actions[:, :3].sum(axis=0), rotation_vector(turn), actions[-1, 6:]])


FRANKA_DELTA_POSE = Robot(
    name="franka_delta_pose",
    cameras=DROID.cameras,
    model_cameras=DROID.model_cameras,
    state_keys={"observation/state": 7},
    state_names=("eef_x_m", "eef_y_m", "eef_z_m", "eef_rx_rad", "eef_ry_rad", "eef_rz_rad", "gripper_closed"),
    state_low=(-1.0, -1.0, -0.3, -np.pi, -np.pi, -np.pi, 0.0),
    state_high=(1.0, 1.0, 1.3, np.pi, np.pi, np.pi, 1.0),
    action_names=("dx_m", "dy_m", "dz_m", "drx_rad", "dry_rad", "drz_rad", "gripper_closed"),
    action_low=(-0.03,) * 3 + (-0.1,) * 3 + (0.0,),
    action_high=(0.03,) * 3 + (0.1,) * 3 + (1.0,),
    hold_action=(0.0,) * 7,
    hold_at=_stay,
    gripper_dims=(6,),
    control_hz=15.0,
    axes=DROID.axes,
    image_orientation="upright",
    state_after=_state_after,
    columns={
        "exterior_image_1_left": "observation/exterior_image_1_left",
        "wrist_image_left": "observation/wrist_image_left",
        "state": "observation/state",
    },
    gripper=GripperSignal(position=(0, 1, 2), opening={6: -1.0}, opening_at_zero=1.0),
)
