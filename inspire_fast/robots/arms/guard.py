"""Guard of joint targets: position limits, distance from the measured pose, workspace box, and the gripper's rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import time
from typing import Protocol

import numpy as np

from inspire_fast.robots.arms.kinematics import Kinematics
from inspire_fast.robots.arms.limits import MotionLimits, joined

_SHARES = np.linspace(0.0, 1.0, 9)


class Guard(Protocol):
    """Brings joint targets into what an arm may be told."""

    @property
    def limits(self) -> MotionLimits:
        """Of the joints."""
        ...

    def apply(
        self, target: np.ndarray, measured: np.ndarray, planned: np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """A wanted target `[n]` -> the target to send, and why it differs; measured and planned are `[n]`, too."""
        ...

    def require_way(self, start: np.ndarray, end: np.ndarray) -> None:
        """Checks a straight way in joint space before it is moved; raises `ValueError`."""
        ...

    def outside(self, q: np.ndarray) -> str:
        """How the tip is outside of the workspace at joint positions `[n]`, in words; empty: it is not."""
        ...


@dataclass(frozen=True, kw_only=True)
class JointGuard:
    """See `Guard`: one arm.

    Attributes:
        limits: of the joints, and the box of the tip.
        kinematics: of the first joints, the arm's; needed for the box.
        max_lead: largest distance of a target from the measured position, rad per joint; grippers are exempt, as what
            they hold stops them.
    """

    limits: MotionLimits
    kinematics: Kinematics | None
    max_lead: float = 0.25

    def __post_init__(self) -> None:
        if self.limits.box is not None and self.kinematics is None:
            raise ValueError("A workspace box needs the arm's kinematics: give its URDF, or leave the box out.")
        if not self.max_lead > 0:
            raise ValueError(f"max_lead must be > 0 rad; got {self.max_lead}.")

    def apply(
        self, target: np.ndarray, measured: np.ndarray, planned: np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """A wanted target -> the target to send, and why it differs.

        Args:
            target: `[n]`, rad.
            measured: `[n]`, where the arm is.
            planned: `[n]`, the target before this one.
        """
        reasons: list[str] = []
        limited = self.limits.clip(target)
        if (changed := limited != target).any():
            reasons.append(f"clipped to the joints' limits: {self._names(changed)}.")
        lead = np.where(self.limits.arm, self.max_lead, np.inf)
        near = self.limits.clip(np.clip(limited, measured - lead, measured + lead))
        if (changed := near != limited).any():
            reasons.append(f"clipped to {self.max_lead:g} rad from the measured pose: {self._names(changed)}.")
        inside, reason = self._in_box(near, planned)
        return inside, (*reasons, reason) if reason else tuple(reasons)

    def require_way(self, start: np.ndarray, end: np.ndarray) -> None:
        """Checks a straight way in joint space before it is moved.

        Raises:
            ValueError: the end is beyond the limits, or the tip would leave the box on the way.
        """
        self.limits.require_inside(end, "The pose to move to")
        for share in _SHARES[1:]:
            if (outside := self._outside_m(start + share * (end - start))) > self._outside_m(start):
                raise ValueError(
                    f"On the straight way to the start pose the tip would be {outside:.3f} m outside of the workspace "
                    f"box {self.limits.box}. Move the arm by hand to where its way is free, or choose another pose."
                )

    def outside(self, q: np.ndarray) -> str:
        """See `Guard`."""
        if not self._outside_m(q) or self.limits.box is None or self.kinematics is None:
            return ""
        return self.limits.box.tell(self._tip(self.kinematics, q))

    def _in_box(self, target: np.ndarray, planned: np.ndarray) -> tuple[np.ndarray, str]:
        """The target, or the last place on the straight way to it where the tip is (or comes closer to) inside."""
        box = self.limits.box
        if box is None or self.kinematics is None or self._outside_m(target) == 0:
            return target, ""
        told = box.tell(self._tip(self.kinematics, target))
        allowed = self._outside_m(planned)
        if self._outside_m(target) < allowed:  # on its way back
            return target, ""
        for share in _SHARES[-2:0:-1]:
            place = planned + share * (target - planned)
            if self._outside_m(place) <= allowed:
                return place, f"stopped at the workspace box: {told}."
        return planned, f"stopped at the workspace box: {told}."

    def _outside_m(self, q: np.ndarray) -> float:
        if self.limits.box is None or self.kinematics is None:
            return 0.0
        return self.limits.box.outside_m(self._tip(self.kinematics, q))

    def _tip(self, kinematics: Kinematics, q: np.ndarray) -> np.ndarray:
        return kinematics.pose(q[: len(kinematics.names)])[:3, 3]

    def _names(self, which: np.ndarray) -> str:
        return ", ".join(name for name, is_in in zip(self.limits.names, which, strict=True) if is_in)


@dataclass(frozen=True, kw_only=True)
class SideBySideGuard:
    """See `Guard`: several arms whose joints follow one another in one vector.

    Attributes:
        parts: arm's name -> its guard, with its own limits, kinematics and box; in the order of the joints.
    """

    parts: Mapping[str, JointGuard]

    @property
    def limits(self) -> MotionLimits:
        """See `Guard`."""
        return joined(*(part.limits for part in self.parts.values()))

    def apply(
        self, target: np.ndarray, measured: np.ndarray, planned: np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """See `Guard`."""
        sent: list[np.ndarray] = []
        told: list[str] = []
        given = zip(self._split(target), self._split(measured), self._split(planned), strict=True)
        for (name, part), one in zip(self.parts.items(), given, strict=True):
            place, reasons = part.apply(*one)
            sent.append(place)
            told += [f"{name}: {reason}" for reason in reasons]
        return np.concatenate(sent), tuple(told)

    def require_way(self, start: np.ndarray, end: np.ndarray) -> None:
        """See `Guard`."""
        self.limits.require_inside(end, "The pose to move to")
        for part, one, other in zip(self.parts.values(), self._split(start), self._split(end), strict=True):
            part.require_way(one, other)

    def outside(self, q: np.ndarray) -> str:
        """See `Guard`."""
        told = {name: part.outside(one) for (name, part), one in zip(self.parts.items(), self._split(q), strict=True)}
        return "; ".join(f"{name}: {one}" for name, one in told.items() if one)

    def _split(self, values: np.ndarray) -> list[np.ndarray]:
        return np.split(values, np.cumsum([len(part.limits.names) for part in self.parts.values()])[:-1])


class GripperGate:
    """Binary gripper that changes at most once per `interval_s`: a policy that flickers does not wear it out.

    Args:
        interval_s: between two changes.
        threshold: an action of at least this closes.
    """

    def __init__(self, *, interval_s: float = 0.3, threshold: float = 0.5) -> None:
        if not interval_s >= 0 or not 0 < threshold < 1:
            raise ValueError(f"interval_s must be >= 0 and threshold in 0 .. 1; got {interval_s}, {threshold}.")
        self._interval_s, self._threshold = interval_s, threshold
        self._closed: float | None = None
        self._changed_s = -np.inf

    def apply(self, wanted: float) -> tuple[float, bool]:
        """A wanted closing 0 .. 1 -> the command 0 or 1, and whether it is a new one."""
        closed, now = float(wanted >= self._threshold), time.monotonic()
        if closed == self._closed or (self._closed is not None and now - self._changed_s < self._interval_s):
            return float(self._closed or 0.0), False
        self._closed, self._changed_s = closed, now
        return closed, True
