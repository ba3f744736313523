"""A toy robot of angles: two platforms that turn for ever, told in degrees and trained in radians, and a gripper."""

import numpy as np

from inspire_fast.robots.axes import Axes
from inspire_fast.robots.spec import Robot, VectorMap

_UNITS = np.array([np.pi / 180, -np.pi / 180, 1.0])
_MAP = VectorMap(to_canonical=lambda x: x * _UNITS, to_native=lambda x: x / _UNITS)
CAROUSEL = Robot(
    name="carousel",
    cameras={"top": "base_0_rgb"},
    state_keys={"state": 3},
    state_names=("base_deg", "arm_deg", "gripper_closed"),
    state_low=(0.0, -180.0, 0.0),
    state_high=(360.0, 180.0, 1.0),
    action_names=("base_deg", "arm_deg", "gripper_closed"),
    action_low=(0.0, -180.0, 0.0),
    action_high=(360.0, 180.0, 1.0),
    hold_at=np.copy,
    gripper_dims=(2,),
    control_hz=20.0,
    axes=Axes(x=("back", "front"), y=("left", "right"), z=("down", "up")),
    image_orientation="upright",
    columns={"image": "top", "state": "state"},
    periods={"base_deg": 360.0, "arm_deg": 360.0},
    delta=(False, True, False),
    state_map=_MAP,
    action_map=_MAP,
)
