"""Safety filter: actions that reach a robot are finite, of the right shape, within limits and not too sudden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspire_fast.robots.spec import Robot


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
        if robot.hold_action is None:
            return np.array(last_sent, dtype=np.float32)
        action, dims = np.array(robot.hold_action, dtype=np.float32), list(robot.gripper_dims)
        action[dims] = last_sent[dims]
        return action
    if robot.hold_at is None:
        return np.array(robot.hold_action, dtype=np.float32)
    if state is None:
        raise ValueError(
            f"Robot {robot.name!r} holds what is measured: to hold before anything was sent needs its measured state."
        )
    return np.clip(robot.hold_at(state), robot.action_low, robot.action_high).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class SafetyFilter:
    """Checks and limits native actions of one robot.

    Attributes:
        robot: the embodiment with its limits.
        max_change: per dimension, the largest change from the action sent before, in action units per step
            (`inf` = unlimited); None switches the limit off. For delta actions it bounds the acceleration, for position
            targets the speed.
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
            state: native state `[s]`; see `hold_action`, also for what is raised.
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
            reason = f"refused: NaN or infinity in {self._names(~np.isfinite(requested))}."
            return SafeAction(action=hold_action(self.robot, last_sent, state), reasons=(reason,), refused=True)
        return self._limit(requested.astype(np.float32), last_sent)

    def _limit(self, requested: np.ndarray, last_sent: np.ndarray | None) -> SafeAction:
        reasons: list[str] = []
        low = np.array(self.robot.action_low, dtype=np.float32)
        high = np.array(self.robot.action_high, dtype=np.float32)
        limited = np.clip(requested, low, high)
        if (changed := limited != requested).any():
            reasons.append(f"clipped to the robot's limits: {self._names(changed)}.")
        if self.max_change is not None and last_sent is not None:
            change = np.array(self.max_change, dtype=np.float32)
            slowed = np.clip(np.clip(limited, last_sent - change, last_sent + change), low, high)
            if (changed := slowed != limited).any():
                reasons.append(f"changed too fast: {self._names(changed)}.")
            limited = slowed
        return SafeAction(action=limited, reasons=tuple(reasons))

    def _names(self, which: np.ndarray) -> str:
        return ", ".join(name for name, is_in in zip(self.robot.action_names, which, strict=True) if is_in)
