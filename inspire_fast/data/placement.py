"""Crop and rotation of a training picture, drawn on the host where labels are places in the picture.

The picture is cropped and turned on the device after the dialogue was rendered (`training/augment.py`). A label that
was written before would then name the place where the thing was: up to 60 of 1024 bins aside. So the numbers are drawn
here, one triple per row, move the facts before the dialogue is rendered, and travel in the batch to the device. What
leaves the picture, a box or a path also in part, is not asked about in that use of the sample.

    top, left, turn   uniform in 0..1: place of the window in the picture, and the angle from -rotation to +rotation
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspire_fast.data.picture_facts import PointMap


def window(hw: tuple[int, int], crop: float) -> tuple[int, int]:
    """Height and width, px, of what a crop keeps, rounded down to whole pixels."""
    return int(hw[0] * crop), int(hw[1] * crop)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How far pictures are cropped and turned; wrist cameras are not.

    Attributes:
        crop: share of height and width that is kept.
        rotation_deg: largest angle, in both directions.
    """

    crop: float = 1.0
    rotation_deg: float = 0.0

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """(top, left, turn), float32 `[3]`, uniform in 0..1."""
        return rng.random(3, np.float32)

    def point_map(self, numbers: np.ndarray, hw: tuple[int, int]) -> PointMap:
        """Where points of a picture `hw` go, for `moved`; the inverse of what `training.augment` samples."""
        size, kept = np.array(hw, np.float64), np.array(window(hw, self.crop), np.float64)
        angle = np.deg2rad(self.rotation_deg) * (2 * float(numbers[2]) - 1)
        sin, cos = np.sin(angle), np.cos(angle)
        corner = numbers[:2].astype(np.float64) * (size - kept)  # top left of the window, px

        def move(points: np.ndarray) -> np.ndarray:
            # Pixels from the window's middle, enlarged; then turned back.
            y, x = ((points * size - corner - kept / 2) * (size / kept)).T
            return (np.stack([cos * y - sin * x, sin * y + cos * x], axis=1) + size / 2) / size

        return move
