"""Gripper signals: the state dimensions of a gripper's position and opening, and the openings that count as closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class GripperSignal:
    """A gripper's position and opening in a robot's native state; thresholds are fractions of the widest opening.

    Attributes:
        columns: dataset columns whose values, one after the other, take the place of the state; empty: the state has
            both. DROID's state has joint angles, and its datasets have the Cartesian position in another column.
        position: the dimensions that are the gripper's x, y, z.
        opening: dimension -> weight; the weighted sum plus `opening_at_zero` grows as the gripper opens.
        opening_at_zero: offset of that sum. A gripper that states how far it is *closed*, 0..1, has weight -1 and
            offset 1.
        metres_per_unit: of the position.
        closed_below: the gripper closes when the opening falls below this. InSpire's annotator: 0.75. Wide objects need
            more: LIBERO's cans keep the fingers at 0.81.
        open_above: it is open again above this; the gap between the two keeps noise from counting.
        empty_below: closed further than this, it holds nothing.
        level_tolerance: the object is held while the opening is within this of the grasp's own level.
        min_s: shorter grasps, and shorter gaps within one, are noise.
    """

    position: tuple[int, int, int]
    opening: Mapping[int, float]
    columns: tuple[str, ...] = ()
    opening_at_zero: float = 0.0
    metres_per_unit: float = 1.0
    closed_below: float = 0.75
    open_above: float = 0.8
    empty_below: float = 0.03
    level_tolerance: float = 0.04
    min_s: float = 0.2

    def __post_init__(self) -> None:
        if len(set(self.position)) != 3 or not self.opening:
            raise ValueError(f"A gripper signal needs three position dimensions and an opening; got {self}.")
        if not 0 <= self.empty_below < self.closed_below <= self.open_above < 1:
            raise ValueError(
                "A gripper signal needs 0 <= empty_below < closed_below <= open_above < 1; got "
                f"{self.empty_below}, {self.closed_below}, {self.open_above}."
            )
        if self.metres_per_unit <= 0 or self.min_s < 0 or self.level_tolerance <= 0:
            raise ValueError(f"metres_per_unit and level_tolerance must be > 0 and min_s >= 0; got {self}.")

    @property
    def dimensions(self) -> tuple[int, ...]:
        """All dimensions that the signal reads."""
        return (*self.position, *self.opening)

    def positions_m(self, states: np.ndarray) -> np.ndarray:
        """Native states `[n, s]` -> gripper positions `[n, 3]`, metres, along the robot's own axes."""
        return np.asarray(states, np.float64)[:, list(self.position)] * self.metres_per_unit

    def openings(self, states: np.ndarray) -> np.ndarray:
        """Native states `[n, s]` -> openings `[n]`, in the gripper's own unit, larger is wider."""
        columns = np.asarray(states, np.float64)
        return self.opening_at_zero + columns[:, list(self.opening)] @ np.array(list(self.opening.values()))
