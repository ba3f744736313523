"""Embodiments and the control loop, without JAX: this room runs on robot workstations."""

from inspire_fast.robots.registry import ROBOTS as ROBOTS
from inspire_fast.robots.spec import Robot as Robot
