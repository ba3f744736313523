"""The bimanual ALOHA workstation: two ViperX 300 arms, four cameras, with openpi's keys and conventions.

Native units (of ALOHA's own software): per arm six joint angles (rad) and the gripper. In the *state* the gripper is
its linear opening, 0 closed .. 1 open; in the *action* it is the angle of the gripper's motor, scaled to 0 .. 1.
Canonical units (of pi0's pre-training, openpi's `adapt_to_pi`): shoulder and elbow turn the other way, and grippers are
motor angles: in the state scaled so that pi0's robots span 0 .. 1, in the action radians from pi0's closed position.
Joints are trained as deltas to the state, grippers are not. 50 Hz; the model does not see the camera `cam_low`.

Direction words follow the table as seen by an operator with the left arm on the left: x to the right, y away, z up.
"""

from __future__ import annotations

import numpy as np

from inspire_fast.robots.axes import Axes
from inspire_fast.robots.spec import Robot, VectorMap

_GRIPPERS = (6, 13)
_SIGNS = np.array(([1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0]) * 2)  # pi0's robots count shoulder and elbow the other way

# Finger distance (m) and motor angle (rad) of the closed and the open gripper: ALOHA's own constants
# PUPPET_GRIPPER_POSITION_* and PUPPET_GRIPPER_JOINT_*.
_FINGER_M = (0.01844, 0.05800)
_MOTOR_RAD = (-0.6213, 1.4910)
# The gripper is a slider crank: horn of the motor and connecting rod (m), from Interbotix' driver.
_HORN_M, _ROD_M = 0.022, 0.036
# pi0 scales encoder counts 2405 .. 3110 of 4096 per turn, zero at 2048, to 0 .. 1; openpi rounds the angles to these.
_PI_RAD = (0.5476, 1.6296)


def _to_unit(values: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    return (values - bounds[0]) / (bounds[1] - bounds[0])


def _from_unit(values: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    return values * (bounds[1] - bounds[0]) + bounds[0]


def motor_angle(finger_m: np.ndarray) -> np.ndarray:
    """Finger distance (m) -> motor angle (rad), by the law of cosines, clipped to the mechanism's range."""
    sine = (_HORN_M**2 + finger_m**2 - _ROD_M**2) / (2 * _HORN_M * finger_m)
    return np.arcsin(np.clip(sine, -1.0, 1.0))


def finger_distance(motor_rad: np.ndarray) -> np.ndarray:
    """The inverse of `motor_angle` (m)."""
    return _HORN_M * np.sin(motor_rad) + np.sqrt(_ROD_M**2 - (_HORN_M * np.cos(motor_rad)) ** 2)


def _opening_to_motor(opening: np.ndarray) -> np.ndarray:
    """Native gripper state -> motor angle (rad)."""
    # A reading far below closed is a negative distance, for which the mechanism has no angle; openpi returns NaN.
    return motor_angle(np.maximum(_from_unit(opening, _FINGER_M), _ROD_M - _HORN_M))


def _with_grippers(values: np.ndarray, grippers: np.ndarray) -> np.ndarray:
    joints = values * _SIGNS
    joints[..., list(_GRIPPERS)] = grippers
    return joints


def _grippers(values: np.ndarray) -> np.ndarray:
    return values[..., list(_GRIPPERS)].astype(np.float64)


def _state_to_canonical(state: np.ndarray) -> np.ndarray:
    return _with_grippers(state, _to_unit(_opening_to_motor(_grippers(state)), _PI_RAD))


def _state_to_native(state: np.ndarray) -> np.ndarray:
    return _with_grippers(state, _to_unit(finger_distance(_from_unit(_grippers(state), _PI_RAD)), _FINGER_M))


def _action_to_canonical(action: np.ndarray) -> np.ndarray:
    return _with_grippers(action, _from_unit(_grippers(action), _MOTOR_RAD) - _PI_RAD[0])


def _action_to_native(action: np.ndarray) -> np.ndarray:
    return _with_grippers(action, _to_unit(_grippers(action) + _PI_RAD[0], _MOTOR_RAD))


def _stay(state: np.ndarray) -> np.ndarray:
    """Native state -> native action: the joints as they are, the gripper's opening as its motor's angle."""
    action = state.astype(np.float64)
    action[..., list(_GRIPPERS)] = _to_unit(_opening_to_motor(_grippers(state)), _MOTOR_RAD)
    return action


def motor_targets(action: np.ndarray) -> np.ndarray:
    """Native actions `[..., 14]` -> angles of all motors (rad), grippers included."""
    targets = action.astype(np.float64)
    targets[..., list(_GRIPPERS)] = _from_unit(_grippers(action), _MOTOR_RAD)
    return targets


def action_of_motors(targets: np.ndarray) -> np.ndarray:
    """The inverse of `motor_targets`."""
    action = targets.astype(np.float64)
    action[..., list(_GRIPPERS)] = _to_unit(_grippers(targets), _MOTOR_RAD)
    return action


def state_of_motors(angles: np.ndarray) -> np.ndarray:
    """Measured angles of all motors `[..., 14]` (rad) -> native state, float32: a gripper's is its linear opening."""
    state = angles.astype(np.float64)
    state[..., list(_GRIPPERS)] = _to_unit(finger_distance(_grippers(angles)), _FINGER_M)
    return state.astype(np.float32)


_JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
# Joint limits of the ViperX 300 6DOF (rad), Interbotix' data sheet.
_LOW = (-3.14158, -1.85005, -1.76278, -3.14158, -1.86750, -3.14158, 0.0) * 2
_HIGH = (3.14158, 1.25664, 1.60570, 3.14158, 2.23402, 3.14158, 1.0) * 2


def _state_after(state: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The joints are at the last target; a gripper's target is in another unit than its state, which stays."""
    after = actions[-1].copy()
    after[list(_GRIPPERS)] = state[list(_GRIPPERS)]
    return after


ALOHA = Robot(
    name="aloha",
    cameras={
        "images/cam_high": "base_0_rgb",
        "images/cam_left_wrist": "left_wrist_0_rgb",
        "images/cam_right_wrist": "right_wrist_0_rgb",
    },
    optional_cameras=("images/cam_left_wrist", "images/cam_right_wrist"),
    unused_cameras=("images/cam_low",),
    nested=True,
    image_layout="chw",
    state_keys={"state": 14},
    state_names=tuple(
        f"{side}_{name}" for side in ("left", "right") for name in (*(f"{j}_rad" for j in _JOINTS), "gripper_opening")
    ),
    state_low=_LOW,
    state_high=_HIGH,
    action_names=tuple(
        f"{side}_{name}" for side in ("left", "right") for name in (*(f"{j}_rad" for j in _JOINTS), "gripper_motor")
    ),
    action_low=_LOW,
    action_high=_HIGH,
    hold_at=_stay,
    gripper_dims=_GRIPPERS,
    state_after=_state_after,
    control_hz=50.0,
    axes=Axes(x=("left", "right"), y=("back", "front"), z=("down", "up")),
    image_orientation="upright",
    columns={
        "observation.images.cam_high": "images/cam_high",
        "observation.images.cam_left_wrist": "images/cam_left_wrist",
        "observation.images.cam_right_wrist": "images/cam_right_wrist",
        "observation.state": "state",
    },
    action_column="action",
    delta=((True,) * 6 + (False,)) * 2,
    state_map=VectorMap(to_canonical=_state_to_canonical, to_native=_state_to_native),
    action_map=VectorMap(to_canonical=_action_to_canonical, to_native=_action_to_native),
)
