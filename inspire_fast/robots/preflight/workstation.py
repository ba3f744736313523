"""Description of a robot workstation: what a robot's own program uses, so that it can be checked without moving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from inspire_fast.robots.arms.base import ArmModel
from inspire_fast.robots.arms.guard import Guard
from inspire_fast.robots.arms.process import ArmFactory
from inspire_fast.robots.arms.shared import ArmStatus
from inspire_fast.robots.arms.stream import StreamConfig
from inspire_fast.robots.cameras.base import CameraSpec
from inspire_fast.robots.control.runtime import LoopConfig
from inspire_fast.robots.spec import Robot


@dataclass(frozen=True, kw_only=True)
class ArmPart:
    """An arm as the program drives it.

    Attributes:
        name: for messages and the emergency stop.
        factory: makes the driver, in its own process.
        joints: of the arm.
        guard: model of the connected arm -> its guard, within narrowed limits.
        state: model and status -> the robot's native state.
        start: pose in which episodes start, rad; None: wherever it is.
        config: of the stream.
    """

    name: str
    factory: ArmFactory
    joints: int
    guard: Callable[[ArmModel], Guard]
    state: Callable[[ArmModel, ArmStatus], Mapping[str, np.ndarray]]
    start: tuple[float, ...] | None = None
    config: StreamConfig = field(default_factory=StreamConfig)


@dataclass(frozen=True, kw_only=True)
class Workstation:
    """A robot's cameras, arm, policy server and way of executing chunks.

    Attributes:
        robot: the embodiment.
        cameras: native key -> camera.
        policy: address of the server; empty: there is none yet.
        loop: how chunks will be executed.
        prompt: the instruction.
        arm: None: only cameras and server are checked.
        stale_s: age at which a newest picture is stale.
    """

    robot: Robot
    cameras: Mapping[str, CameraSpec]
    policy: str
    loop: LoopConfig
    prompt: str
    arm: ArmPart | None = None
    stale_s: float = 0.3
