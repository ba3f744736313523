"""The Franka Panda of the LIBERO simulator, with openpi's keys and conventions.

State: end-effector position (3, m) + orientation as axis-angle (3, rad) + gripper joint positions (2, m).
Action: OSC_POSE delta, 7-D in [-1, 1] (+-1 = 0.05 m, 0.5 rad per step) + gripper (-1 open, +1 close), 20 Hz.
`libero_front` is the same arm as the released InSpire-FAST checkpoints see it: the front camera alone, flipped
vertically; both wrist slots of the network are black.

Direction words follow the robosuite world axes (x forward from the base, y to the right, z up), whatever the image
shows: openpi's client rotates images by 180 degrees, which mirrors the upright view.
"""

from dataclasses import replace

import numpy as np

from inspire_fast.robots.axes import Axes
from inspire_fast.robots.gripper import GripperSignal
from inspire_fast.robots.spec import Robot

_MOTION_M = 0.0125  # per step and unit of action: what is measured in demonstrations, a quarter of the commanded 0.05 m


def _state_after(state: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The position moves on by what the actions command; orientation and fingers stay."""
    after = state.copy()
    after[:3] += _MOTION_M * actions[:, :3].sum(axis=0)
    return after


LIBERO = Robot(
    name="libero",
    cameras={"observation/image": "base_0_rgb", "observation/wrist_image": "left_wrist_0_rgb"},
    state_keys={"observation/state": 8},
    state_names=(
        "eef_x_m",
        "eef_y_m",
        "eef_z_m",
        "eef_rx_rad",
        "eef_ry_rad",
        "eef_rz_rad",
        "finger_left_m",
        "finger_right_m",
    ),
    state_low=(-1.0,) * 8,
    state_high=(1.0,) * 8,
    action_names=("dx", "dy", "dz", "drx", "dry", "drz", "gripper"),
    action_low=(-1.0,) * 7,
    action_high=(1.0,) * 7,
    hold_action=(0.0,) * 6 + (-1.0,),
    gripper_dims=(6,),
    control_hz=20.0,
    axes=Axes(x=("back", "front"), y=("left", "right"), z=("down", "up")),
    frames={
        # The grip site's axes, named for a gripper that points straight down.
        "gripper": Axes(x=("left", "right"), y=("back", "front"), z=("up", "down")),
        # The front camera's: x to its right, y up, z towards it; it looks at the robot's front.
        "camera": Axes(x=("left", "right"), y=("down", "up"), z=("back", "front")),
    },
    image_orientation="rotated_180",
    state_after=_state_after,
    columns={
        "image": "observation/image",
        "wrist_image": "observation/wrist_image",
        "state": "observation/state",
    },
    gripper=GripperSignal(position=(0, 1, 2), opening={6: 1.0, 7: -1.0}, closed_below=0.9, open_above=0.93),
)

LIBERO_FRONT = replace(
    LIBERO,
    name="libero_front",
    cameras={"observation/image": "base_0_rgb"},
    unused_cameras=("observation/wrist_image",),
    columns={"image": "observation/image", "state": "observation/state"},
    image_orientation="flipped_vertically",
)
