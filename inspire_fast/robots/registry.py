"""Every robot by its name."""

from inspire_fast.core.registry import Registry
from inspire_fast.robots.libero import LIBERO
from inspire_fast.robots.spec import Robot

ROBOTS: Registry[Robot] = Registry("robot", {"libero": LIBERO})
