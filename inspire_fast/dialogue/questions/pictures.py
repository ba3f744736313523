"""Scores of places in pictures, and the camera that a question is about."""

from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np

_ALMOST = math.nextafter(1.0, 0.0)  # only the true bins are all right


def check_camera(camera: str | None) -> None:
    """Refuses an empty name."""
    if camera == "":
        raise ValueError("The camera of a question is a canonical name such as 'base_0_rgb', or None; got ''.")


def closeness(given: np.ndarray, true: np.ndarray, tolerance: float) -> float:
    """0 .. below 1: how close points `[..., 2]` are to the true ones; 0 from a mean distance of `tolerance` on."""
    apart: np.ndarray = np.linalg.norm(np.asarray(given, np.float64) - true, axis=-1)
    distance = float(apart.mean())
    return min(max(0.0, 1 - distance / tolerance), _ALMOST)


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes `y0 x0 y1 x1`, 0..1."""
    sides = [max(0.0, min(one[i + 2], other[i + 2]) - max(one[i], other[i])) for i in (0, 1)]
    both = sides[0] * sides[1]
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (areas - both) if areas > both else 0.0
