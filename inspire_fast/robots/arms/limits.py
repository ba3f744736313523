"""Motion limits of an arm: positions, velocities, accelerations and jerks of its joints, and a box for its tip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from inspire_fast.core.ranges import Natural, require_ranges
from inspire_fast.robots.native import beyond

_QUANTITIES = ("velocity", "acceleration", "jerk")


@dataclass(frozen=True, kw_only=True)
class Box:
    """A workspace box for the tip, metres, base frame; see `Kinematics.pose`."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def __post_init__(self) -> None:
        if len(self.low) != 3 or len(self.high) != 3 or not np.less(self.low, self.high).all():
            raise ValueError(f"A box needs low < high in x, y, z (metres); got {self.low} .. {self.high}.")

    def outside_m(self, place: np.ndarray) -> float:
        """How far a place `[3]` is outside of the box, metres; 0 inside."""
        return float(np.linalg.norm(place - np.clip(place, self.low, self.high)))

    def tell(self, place: np.ndarray) -> str:
        """The axes along which a place `[3]` is outside, with numbers."""
        out = (place < self.low) | (place > self.high)
        return beyond(("x (m)", "y (m)", "z (m)"), place, self.low, self.high, out)


@dataclass(frozen=True, kw_only=True)
class MotionLimits:
    """Limits of `n` joints, rad and s. They come from the robot, its file or its URDF; a user can only narrow them.

    Attributes:
        names: of the joints.
        low, high: positions.
        velocity, acceleration, jerk: largest absolute values.
        box: workspace of the tip; None: none.
        grippers: numbers of the joints that are fingers: what they hold stops them, so that they stay behind their
            command.
    """

    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    jerk: np.ndarray
    box: Box | None = None
    grippers: tuple[Natural, ...] = ()

    def __post_init__(self) -> None:
        require_ranges(self)
        if any(one >= len(self.names) for one in self.grippers):
            raise ValueError(f"Grippers are numbers of the joints {self.names}, from 0 on; got {self.grippers}.")
        for field in fields(self):
            if field.name in ("names", "box", "grippers"):
                continue
            values = np.array(getattr(self, field.name), np.float64)
            if values.shape != (len(self.names),) or not np.isfinite(values).all():
                raise ValueError(f"Limit {field.name} needs {len(self.names)} finite numbers; got {values.tolist()}.")
            object.__setattr__(self, field.name, values)
        if not (self.low < self.high).all() or not all((getattr(self, name) > 0).all() for name in _QUANTITIES):
            raise ValueError(f"Limits need low < high, and velocity, acceleration and jerk > 0; got {self}.")

    def narrowed(
        self,
        *,
        low: Sequence[float] | np.ndarray | None = None,
        high: Sequence[float] | np.ndarray | None = None,
        fraction: float = 1.0,
        box: Box | None = None,
    ) -> MotionLimits:
        """Narrower limits.

        Args:
            low: lower limits of the positions.
            high: upper limits of the positions.
            fraction: of velocity, acceleration and jerk, 0 .. 1.
            box: inside of the one that there is.

        Raises:
            ValueError: something would become wider.
        """
        new_low, new_high = (
            mine if given is None else np.asarray(given, np.float64)
            for mine, given in ((self.low, low), (self.high, high))
        )
        if new_low.shape != self.low.shape or new_high.shape != self.high.shape:
            raise ValueError(f"Positions need {len(self.names)} numbers ({', '.join(self.names)}).")
        wider = (new_low < self.low) | (new_high > self.high)
        if wider.any():
            shown = np.where(new_low < self.low, new_low, new_high)
            raise ValueError(
                f"Limits can only be narrowed; wider than the robot's own (in brackets): "
                f"{beyond(self.names, shown, self.low.tolist(), self.high.tolist(), wider)}."
            )
        if not 0 < fraction <= 1:
            raise ValueError(f"The fraction of the robot's speed limits must be in 0 .. 1; got {fraction}.")
        if box is not None and self.box is not None:
            mine = self.box
            if np.less(box.low, mine.low).any() or np.greater(box.high, mine.high).any():
                raise ValueError(f"The workspace box can only be narrowed: {box} leaves {mine}.")
        scaled = {name: getattr(self, name) * fraction for name in _QUANTITIES}
        return replace(self, low=new_low, high=new_high, box=box or self.box, **scaled)

    @property
    def arm(self) -> np.ndarray:
        """Whether each joint is the arm's and no finger, `[n]`."""
        return ~np.isin(np.arange(len(self.names)), self.grippers)

    def clip(self, positions: np.ndarray) -> np.ndarray:
        """Positions `[n]` within the limits."""
        return np.clip(positions, self.low, self.high)

    def require_inside(self, positions: np.ndarray, what: str) -> None:
        """Checks positions `[n]`, e.g. a start pose.

        Raises:
            ValueError: beyond the limits; names the joints, and degrees if the numbers look like degrees.
        """
        values = np.asarray(positions, np.float64)
        if values.shape != self.low.shape or not np.isfinite(values).all():
            raise ValueError(f"{what} needs {len(self.names)} finite numbers ({', '.join(self.names)}); got {values}.")
        out = (values < self.low) | (values > self.high)
        if out.any():
            told = beyond(self.names, values, self.low.tolist(), self.high.tolist(), out)
            hint = " Are these degrees? The unit is radians." if np.abs(values).max() > 2 * np.pi else ""
            raise ValueError(f"{what} is beyond the limits in brackets: {told}.{hint}")


def joined(*parts: MotionLimits) -> MotionLimits:
    """Limits of several arms, or of an arm and its gripper, as those of one; without boxes, which are of one tip."""
    counts = np.cumsum([0, *(len(part.names) for part in parts)])
    return MotionLimits(
        names=tuple(name for part in parts for name in part.names),
        low=np.concatenate([part.low for part in parts]),
        high=np.concatenate([part.high for part in parts]),
        velocity=np.concatenate([part.velocity for part in parts]),
        acceleration=np.concatenate([part.acceleration for part in parts]),
        jerk=np.concatenate([part.jerk for part in parts]),
        grippers=tuple(int(first) + one for first, part in zip(counts, parts, strict=False) for one in part.grippers),
    )
