"""Robots by name.

Example:
    >>> import inspire_fast as ifa
    >>> robot = ifa.ROBOTS["libero"]
    >>> robot.action_dim, sorted(robot.fake_native())
    (7, ['observation/image', 'observation/state', 'observation/wrist_image', 'prompt'])
"""

from inspire_fast.core.registry import Registry
from inspire_fast.robots.aloha import ALOHA
from inspire_fast.robots.droid import DROID, DROID_JOINT_POSITION
from inspire_fast.robots.franka import FRANKA_DELTA_POSE
from inspire_fast.robots.google_robot import GOOGLE_ROBOT
from inspire_fast.robots.inspire_arm import INSPIRE_ARM
from inspire_fast.robots.libero import LIBERO, LIBERO_FRONT
from inspire_fast.robots.spec import Robot
from inspire_fast.robots.widowx_bridge import WIDOWX_BRIDGE

_ALL = (
    LIBERO,
    LIBERO_FRONT,
    DROID,
    DROID_JOINT_POSITION,
    FRANKA_DELTA_POSE,
    ALOHA,
    INSPIRE_ARM,
    WIDOWX_BRIDGE,
    GOOGLE_ROBOT,
)
ROBOTS: Registry[Robot] = Registry("robot", {robot.name: robot for robot in _ALL})
