"""Every robot by its name."""

from inspire_fast.core.registry import Registry
from inspire_fast.robots.aloha import ALOHA
from inspire_fast.robots.droid import DROID, DROID_JOINT_POSITION
from inspire_fast.robots.inspire_arm import INSPIRE_ARM
from inspire_fast.robots.libero import LIBERO, LIBERO_FRONT
from inspire_fast.robots.spec import Robot

_ALL = (LIBERO, LIBERO_FRONT, DROID, DROID_JOINT_POSITION, ALOHA, INSPIRE_ARM)
ROBOTS: Registry[Robot] = Registry("robot", {robot.name: robot for robot in _ALL})
