"""ROS 1 in this process: modules that are imported when they are needed, and the node that a process is."""

from __future__ import annotations

import importlib
import os
from typing import Any


class RosError(OSError):
    """No master answers."""


def ros(name: str) -> Any:
    """A module of ROS 1.

    Raises:
        ImportError: it is not installed; says how.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"ROS 1 is not complete here ({error}). Install rospy and sensor_msgs (Debian: python3-rospy, "
            "python3-sensor-msgs), and source the workspace that has your robot's own messages."
        ) from error


def start_node(name: str) -> None:
    """Makes this process a ROS node, once.

    Raises:
        ImportError: ROS is not installed.
        RosError: no master answers; `rospy.init_node` would wait for one for good.
    """
    rospy, rosgraph = ros("rospy"), ros("rosgraph")
    if not rosgraph.is_master_online():
        uri = os.environ.get("ROS_MASTER_URI", "http://localhost:11311")
        raise RosError(
            f"No ROS master answers at {uri}. Start the robot's nodes, and set ROS_MASTER_URI if they are away."
        )
    if not rospy.core.is_initialized():
        rospy.init_node(name, anonymous=True, disable_signals=True)
