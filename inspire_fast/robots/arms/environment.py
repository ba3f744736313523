"""Real arm as an environment of the control loop: joint targets within limits, cameras, start pose, told faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import logging
import re
import time
from typing import Any, Protocol

import numpy as np

from inspire_fast.core.nested import unflatten_dict
from inspire_fast.core.ranges import Fraction, Positive, require_ranges
from inspire_fast.core.types import SceneFacts
from inspire_fast.robots.arms.actuation import Actuation
from inspire_fast.robots.arms.base import ArmError
from inspire_fast.robots.arms.guard import GripperGate, Guard
from inspire_fast.robots.arms.process import ArmProcess
from inspire_fast.robots.arms.shared import ArmStatus
from inspire_fast.robots.arms.stream import Mode
from inspire_fast.robots.spec import Robot

logger = logging.getLogger(__name__)
_AT_RAD = 2e-3
_NUMBERS = re.compile(r"-?\d[\d.e+-]*")
StateParts = Callable[[ArmStatus], Mapping[str, np.ndarray]]
"""Status of an arm -> the robot's native state keys."""


class Pictures(Protocol):
    """Cameras as an environment needs them; see `robots.cameras`."""

    def pictures(self) -> Mapping[str, np.ndarray]:
        """Native key -> newest picture, uint8 `[h, w, 3]`; returns at once."""
        ...

    def close(self) -> None:
        """Frees the cameras."""
        ...


@dataclass(frozen=True, kw_only=True)
class StartPose:
    """Pose in which every episode starts.

    Attributes:
        q: `[n]`, rad.
        speed: of the way there, as a share of the joints' velocity limits.
        wait_s: longest time for the way.
    """

    q: tuple[float, ...]
    speed: Fraction = 0.15
    wait_s: Positive = 30.0

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(kw_only=True)
class ArmEnvironment:
    """An arm, its gripper and its cameras as `Environment`.

    `step` returns at once: the arm moves to the target during the control period. Every action that was changed is
    logged with the reason, and what is returned is what was sent.

    Attributes:
        robot: its native keys and actions; the gripper is the action's last dimension, 0 open .. 1 closed, unless the
            actuation moves grippers as joints.
        arm: under control.
        actuation: what the actions mean.
        guard: limits of the targets.
        cameras: of the robot's keys.
        state: the state's native keys.
        prompt: the instruction.
        start: None: an episode starts where the arm is.
        gripper: None: the robot has none.
        dry_run: everything but sending; `would_send` keeps the targets.
    """

    robot: Robot
    arm: ArmProcess
    actuation: Actuation
    guard: Guard
    cameras: Pictures
    state: StateParts
    prompt: str
    start: StartPose | None = None
    gripper: GripperGate | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        self._planned: np.ndarray | None = None
        self._gripper = 0.0
        self._told: tuple[str, ...] = ()
        self.would_send: list[np.ndarray] = []
        self.changed_steps = 0

    def reset(self, episode: int) -> None:
        """Opens the gripper and moves slowly to the start pose.

        Raises:
            ValueError: the start pose or the way to it is beyond the limits; nothing was moved.
            ArmError: the arm did not get there.
        """
        del episode
        status = self.arm.status()
        self._planned, self._told = status.commanded, ()
        if self.start is None:
            return
        goal = np.array(self.start.q, np.float64)
        self.guard.require_way(status.q, goal)
        if self.dry_run:
            self.would_send.append(goal)
            return
        self._move_gripper(0.0)
        velocity = self.start.speed * self.guard.limits.velocity
        self.arm.follow(goal, max(0.1, float((np.abs(goal - status.commanded) / velocity).max())))
        self._wait_until_at(goal, self.start.wait_s)
        self._planned = goal

    def observe(self) -> Mapping[str, Any]:
        """Pictures, state and prompt of this moment, as the robot's clients send them."""
        status, pictures = self.arm.status(), self.cameras.pictures()
        if self.robot.image_layout == "chw":
            pictures = {key: np.moveaxis(picture, -1, 0) for key, picture in pictures.items()}
        flat = {**pictures, **self.state(status)}
        return {**(unflatten_dict(flat) if self.robot.nested else flat), "prompt": self.prompt}

    def step(self, action: np.ndarray) -> np.ndarray:
        """Sends one native action; returns what was sent after all limits.

        Raises:
            ArmError: stopped, failed or gone; the message says which.
        """
        status = self.arm.status()
        planned = status.commanded if self._planned is None else self._planned
        whole = self.actuation.with_grippers
        moving = np.asarray(action if whole else action[:-1], np.float64)
        if self.robot.hold_action is not None and not moving.any():
            self._hold(status)
            sent = np.zeros_like(moving)
        else:
            wanted = self.actuation.target(moving, status.q, planned)
            target, reasons = self.guard.apply(wanted, status.q, planned)
            self._tell(reasons)
            sent = self.actuation.action(target, status.q, planned)
            self._follow(target)
        if whole:
            return sent.astype(np.float32)
        return np.append(sent, self._grip(float(action[-1]))).astype(np.float32)

    @property
    def success(self) -> bool:
        """Nobody tells: a person does, by key."""
        return False

    def facts(self) -> SceneFacts | None:
        """None: a real scene has no known positions."""
        return None

    def close(self) -> None:
        """Gives the arm back and closes the cameras."""
        try:
            self.arm.close()
        finally:
            self.cameras.close()

    def _hold(self, status: ArmStatus) -> None:
        if status.mode == Mode.FOLLOWING and not self.dry_run:
            self.arm.hold("the control loop holds")
        self._planned = None  # wherever the arm comes to rest

    def _follow(self, target: np.ndarray) -> None:
        self._planned = target
        if self.dry_run:
            self.would_send.append(target)
            return
        self.arm.follow(target, 1.0 / self.robot.control_hz)

    def _grip(self, wanted: float) -> float:
        if self.gripper is None:
            return wanted
        command, is_new = self.gripper.apply(wanted)
        if is_new:
            self._move_gripper(command)
        return command

    def _move_gripper(self, closed: float) -> None:
        if not self.dry_run:
            self.arm.move_gripper(closed)

    def _tell(self, reasons: tuple[str, ...]) -> None:
        self.changed_steps += bool(reasons)
        kinds = tuple(_NUMBERS.sub("", reason) for reason in reasons)  # which differ from step to step
        if reasons and kinds != self._told:
            logger.warning("Action changed: %s", " ".join(reasons))
        self._told = kinds

    def _wait_until_at(self, goal: np.ndarray, wait_s: float) -> None:
        end = time.monotonic() + wait_s
        while True:
            status = self.arm.status()
            if status.obeyed >= self.arm.sent and status.resting:
                if np.abs(status.commanded - goal).max() < _AT_RAD:
                    return
                raise ArmError(f"The arm stopped on its way to the start pose, at {status.q.round(3).tolist()} rad.")
            if time.monotonic() > end:
                self.arm.hold("the way to the start pose took too long")
                raise ArmError(f"The arm did not reach its start pose within {wait_s:g} s; it holds.")
            time.sleep(0.02)
