"""The Franka Panda of DROID, with the keys and conventions of openpi's DROID policies.

State: seven joint positions (rad) and the gripper (0 open .. 1 closed). Action: seven joint velocities, normalised to
[-1, 1] (a client moves its target by 0.2 rad times that per step), and the gripper's position, which a client rounds at
0.5. 15 Hz; chunks are executed for 8 steps; images are resized with padding to 224.

`droid_joint_position` is the same arm commanded by seven joint positions (rad), trained as deltas to the state, as in
openpi's `pi0_fast_full_droid_finetune`. Its keys, cameras and state are `droid`'s.

pi0-FAST's DROID policies call their cameras `base_0_rgb`, `base_1_rgb` (black) and `wrist_0_rgb`. A network for this
robot names these three: its image tokens follow the sorted order of the names.
Direction words follow the arm's base frame: x forward, y to the left, z up. DROID's recordings hold the end effector's
pose in that frame (`cartesian_position`); policies do not see it, labels by hindsight are made from it.
"""

from dataclasses import replace

import numpy as np

from inspire_fast.robots.axes import Axes
from inspire_fast.robots.gripper import GripperSignal
from inspire_fast.robots.spec import Robot

# Joint limits of the Panda (rad), Franka's data sheet.
_LOW = (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973)
_HIGH = (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973)


def _stay(state: np.ndarray) -> np.ndarray:
    """Zero velocity, and the gripper as it is measured: 0 would open it and drop the object."""
    return np.concatenate([np.zeros(7), state[7:]])


DROID = Robot(
    name="droid",
    cameras={"observation/exterior_image_1_left": "base_0_rgb", "observation/wrist_image_left": "wrist_0_rgb"},
    model_cameras=("base_0_rgb", "base_1_rgb", "wrist_0_rgb"),
    state_keys={"observation/joint_position": 7, "observation/gripper_position": 1},
    state_names=(*(f"joint_{n}_rad" for n in range(1, 8)), "gripper_closed"),
    state_low=(*_LOW, 0.0),
    state_high=(*_HIGH, 1.0),
    action_names=(*(f"joint_{n}_velocity" for n in range(1, 8)), "gripper_closed"),
    action_low=(*(-1.0,) * 7, 0.0),
    action_high=(1.0,) * 8,
    hold_action=(0.0,) * 8,
    hold_at=_stay,
    gripper_dims=(7,),
    control_hz=15.0,
    axes=Axes(x=("back", "front"), y=("right", "left"), z=("down", "up")),
    image_orientation="upright",
    columns={
        "exterior_image_1_left": "observation/exterior_image_1_left",
        "wrist_image_left": "observation/wrist_image_left",
        "joint_position": "observation/joint_position",
        "gripper_position": "observation/gripper_position",
    },
    gripper=GripperSignal(
        columns=("cartesian_position", "gripper_position"), position=(0, 1, 2), opening={6: -1.0}, opening_at_zero=1.0
    ),
)

DROID_JOINT_POSITION = replace(
    DROID,
    name="droid_joint_position",
    action_names=DROID.state_names,
    action_low=DROID.state_low,
    action_high=DROID.state_high,
    hold_action=None,
    hold_at=np.copy,  # state and action are the same eight quantities
    delta=(True,) * 7 + (False,),
)
