"""Safety filter: actions that reach a robot are finite, of the right shape, within limits and not too sudden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from inspire_fast.robots.native import beyond
from inspire_fast.robots.spec import Robot

# What a robot reports may overshoot a limit by this share of the range; beyond it, it is in another unit.
_SLACK = 0.05


@dataclass(frozen=True, kw_only=True)
class SafeAction:
    """An action to send, and the reasons why it differs from the requested one.

    Attributes:
        action: float32 `[a]`, safe to send.
        reasons: one sentence per intervention; empty when the action passed as it was.
        refused: the request could not be executed at all; `action` holds the position.
    """

    action: np.ndarray
    reasons: tuple[str, ...] = ()
    refused: bool = False


def hold_action(robot: Robot, last_sent: np.ndarray | None, state: np.ndarray | None = None) -> np.ndarray:
    """The native action that keeps the robot in place, float32 `[a]`.

    The grippers keep their last command, so that holding drops nothing. If actions are target positions, the last one
    sent is kept; before any was sent, the measured state (`Robot.hold_at`).

    Args:
        robot: the embodiment.
        last_sent: the native action sent in the step before.
        state: native state `[s]`, needed for robots with `hold_at` until something was sent.

    Raises:
        ValueError: nothing was sent and the state is not known.
    """
    if last_sent is not None:
        last_sent = robot.limited(last_sent)
        if robot.hold_action is None:
            return last_sent
        action, dims = np.array(robot.hold_action, dtype=np.float32), list(robot.gripper_dims)
        action[dims] = last_sent[dims]
        return action
    if robot.hold_at is None:
        return np.array(robot.hold_action, dtype=np.float32)
    if state is None:
        raise ValueError(
            f"Robot {robot.name!r} holds what is measured: to hold before anything was sent needs its measured state."
        )
    return robot.limited(robot.hold_at(state))


def check_sent(robot: Robot, returned: object) -> np.ndarray:
    """What an environment's `step` says it has sent, as float32 `[a]` within the robot's limits.

    The next action is limited from there and a hold keeps its gripper, so nothing else may pass for it.

    Raises:
        ValueError: no vector of `a` finite numbers, or numbers far beyond the limits.
    """
    expected = f"it must return the action that was sent, an array [{robot.action_dim}] of finite numbers"
    wrong = f"{expected} ({', '.join(robot.action_names)})."
    if not isinstance(returned, np.ndarray):
        raise ValueError(f"`step` of the environment returned {type(returned).__name__}; {wrong}")
    sent = cast("np.ndarray", returned)
    if sent.shape != (robot.action_dim,) or sent.dtype.kind not in "fiu":
        raise ValueError(f"`step` of the environment returned {sent.dtype} {sent.shape}; {wrong}")
    if not np.isfinite(sent).all():
        raise ValueError(f"`step` of the environment returned NaN or infinity ({sent}); {expected}.")
    limited = robot.limited(sent)
    span = np.subtract(robot.action_high, robot.action_low)
    if (far := np.abs(robot.action_turn(limited, sent)) > _SLACK * span).any():
        told = beyond(robot.action_names, sent, robot.action_low, robot.action_high, far)
        raise ValueError(
            f"`step` of the environment returned {told}, beyond the limits of robot {robot.name!r} in brackets; "
            f"{expected} in native units."
        )
    return limited


def names(robot: Robot, which: np.ndarray) -> str:
    """The marked action dimensions in words."""
    return ", ".join(name for name, is_in in zip(robot.action_names, which, strict=True) if is_in)


@dataclass(frozen=True, kw_only=True)
class SafetyFilter:
    """Checks and limits native actions of one robot.

    Attributes:
        robot: the embodiment with its limits.
        max_change: per dimension, the largest change from the action sent before, in action units per step
            (`inf` = unlimited); None switches the limit off. For delta actions it bounds the acceleration, for position
            targets the speed. The first action is limited from a hold: from rest, or from the measured pose.
    """

    robot: Robot
    max_change: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.max_change is None:
            return
        if len(self.max_change) != self.robot.action_dim or not all(change > 0 for change in self.max_change):
            raise ValueError(
                f"max_change needs {self.robot.action_dim} positive values ({', '.join(self.robot.action_names)}); "
                f"got {self.max_change}."
            )

    def apply(
        self, action: np.ndarray | None, *, last_sent: np.ndarray | None = None, state: np.ndarray | None = None
    ) -> SafeAction:
        """One requested action -> what may be sent.

        Args:
            action: native action `[a]`, or None to hold.
            last_sent: the action sent in the step before.
            state: native state `[s]`; see `hold_action`, also for what is raised. A limit of the change needs it, too.
        """
        if action is None:
            return SafeAction(action=hold_action(self.robot, last_sent, state))
        requested = np.asarray(action)
        if requested.shape != (self.robot.action_dim,) or not np.issubdtype(requested.dtype, np.floating):
            reason = (
                f"refused: robot {self.robot.name!r} takes {self.robot.action_dim} floats; "
                f"got {requested.dtype} {requested.shape}."
            )
            return SafeAction(action=hold_action(self.robot, last_sent, state), reasons=(reason,), refused=True)
        if not np.isfinite(requested).all():
            reason = f"refused: NaN or infinity in {names(self.robot, ~np.isfinite(requested))}."
            return SafeAction(action=hold_action(self.robot, last_sent, state), reasons=(reason,), refused=True)
        return self._limit(requested, last_sent, state)

    def _limit(self, requested: np.ndarray, last_sent: np.ndarray | None, state: np.ndarray | None) -> SafeAction:
        robot = self.robot
        reasons: list[str] = []
        asked = robot.nearest_turn(requested).astype(np.float32)
        limited = robot.limited(asked)
        if (changed := limited != asked).any():
            reasons.append(f"clipped to the robot's limits: {names(robot, changed)}.")
        if self.max_change is not None:
            before = hold_action(robot, None, state) if last_sent is None else last_sent
            change = np.array(self.max_change, dtype=np.float32)
            difference = robot.action_turn(before, limited)
            if (changed := np.abs(difference) > change).any():
                reasons.append(f"changed too fast: {names(robot, changed)}.")
                limited = robot.limited(np.where(changed, before + np.clip(difference, -change, change), limited))
        return SafeAction(action=limited, reasons=tuple(reasons))
