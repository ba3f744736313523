"""Embodiments and the control loop, without JAX: this room runs on robot workstations."""

from inspire_fast.robots.axes import Axes as Axes
from inspire_fast.robots.control.runtime import LoopConfig as LoopConfig
from inspire_fast.robots.control.runtime import run_episode as run_episode
from inspire_fast.robots.control.safety import SafetyFilter as SafetyFilter
from inspire_fast.robots.gripper import GripperSignal as GripperSignal
from inspire_fast.robots.registry import ROBOTS as ROBOTS
from inspire_fast.robots.spec import Robot as Robot
from inspire_fast.robots.spec import VectorMap as VectorMap
