"""Limits of Franka's arms, from its data sheets, and the kinematics that both backends share."""

from __future__ import annotations

import numpy as np

from inspire_fast.robots.arms.base import ArmError
from inspire_fast.robots.arms.kinematics import Kinematics
from inspire_fast.robots.arms.limits import MotionLimits

NAMES = tuple(f"joint{n}" for n in range(1, 8))
# Towards a joint's end the arm allows less speed. This far from it, what the stream's own braking needs is allowed.
_MARGIN_RAD = 0.1
_LONGEST_TOOL_M = 0.5


def _sheet(low: list[float], high: list[float], velocity: list[float], acceleration: list[float]) -> MotionLimits:
    return MotionLimits(
        names=NAMES,
        low=np.array(low),
        high=np.array(high),
        velocity=np.array(velocity),
        acceleration=np.array(acceleration),
        jerk=500 * np.array(acceleration),
    )


FR3 = _sheet(
    [-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159],
    [2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159],
    [2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26],
    [10.0] * 7,
)
PANDA = _sheet(
    [-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973],
    [2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973],
    [2.175] * 4 + [2.61] * 3,
    [15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0],
)


def limits_of(sheet: MotionLimits, chain: Kinematics) -> MotionLimits:
    """The data sheet's limits, or the URDF's where those are narrower, with a margin to the joints' ends."""
    return sheet.narrowed(
        low=np.maximum(sheet.low, chain.low) + _MARGIN_RAD, high=np.minimum(sheet.high, chain.high) - _MARGIN_RAD
    )


def with_tool(chain: Kinematics, q: np.ndarray, end_effector: np.ndarray) -> Kinematics:
    """A chain up to the flange -> the chain up to the end effector as the arm is set up.

    Args:
        chain: up to the flange.
        q: `[7]`, measured.
        end_effector: `[4, 4]`: pose that the arm itself reports there.

    Raises:
        ArmError: they cannot belong together.
    """
    tool = np.linalg.inv(chain.pose(q)) @ end_effector
    if (length := float(np.linalg.norm(tool[:3, 3]))) > _LONGEST_TOOL_M:
        raise ArmError(f"The arm reports its end effector {length:.2f} m from its flange: this is another arm's model.")
    return chain.with_tool(tool)
