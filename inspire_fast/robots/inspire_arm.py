"""The desktop arm of InSpire's real-robot experiments: one front camera, an end effector commanded by absolute poses.

State and action: position in 0.001 mm, orientation as Euler angles in 0.001 degree, gripper opening in the arm's own
unit (only ever compared with the opening at an episode's start). The first six dimensions are trained as deltas to the
state, in chunks of five.
Direction words follow the released annotator's frame: +x right, +y back, +z up.

The release states no control rate and no workspace. 10 Hz and a cube of 1 m are our choice: bounds that catch a wrong
unit, not the arm's reach. A robot client narrows them.
"""

import numpy as np

from inspire_fast.robots.axes import Axes
from inspire_fast.robots.gripper import GripperSignal
from inspire_fast.robots.spec import Robot

_LOW = (-1_000_000.0,) * 3 + (-180_000.0,) * 3 + (0.0,)
_HIGH = (1_000_000.0,) * 3 + (180_000.0,) * 3 + (100_000.0,)


INSPIRE_ARM = Robot(
    name="inspire_arm",
    cameras={"observation/image": "base_0_rgb"},
    state_keys={"observation/state": 7},
    state_names=("eef_x_um", "eef_y_um", "eef_z_um", "eef_rx_mdeg", "eef_ry_mdeg", "eef_rz_mdeg", "gripper_opening"),
    state_low=_LOW,
    state_high=_HIGH,
    action_names=("eef_x_um", "eef_y_um", "eef_z_um", "eef_rx_mdeg", "eef_ry_mdeg", "eef_rz_mdeg", "gripper_opening"),
    action_low=_LOW,
    action_high=_HIGH,
    hold_at=np.copy,  # state and action are the same seven numbers
    gripper_dims=(6,),
    control_hz=10.0,
    axes=Axes(x=("left", "right"), y=("front", "back"), z=("down", "up")),
    image_orientation="upright",
    columns={"image": "observation/image", "state": "observation/state"},
    gripper=GripperSignal(position=(0, 1, 2), opening={6: 1.0}, metres_per_unit=1e-6),
    periods=dict.fromkeys(("eef_rx_mdeg", "eef_ry_mdeg", "eef_rz_mdeg"), 360_000.0),
    delta=(True,) * 6 + (False,),
)
