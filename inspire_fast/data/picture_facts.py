"""Movement of facts with the picture that they are about: another orientation, a resize with padding, any other map.

Facts in pictures are points `(y, x)`, boxes and traces, fractions of a picture's height and width (`core.types`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.images import fitted_size
from inspire_fast.robots.spec import ImageOrientation

PointMap = Callable[[np.ndarray], np.ndarray]
"""Points `(y, x)` in the old picture, float64 `[n, 2]` -> the same points in the new one, `[n, 2]`; both fractions."""

_ROUNDING = 1e-6  # points this far outside of the picture are on its edge


def moved(facts: SceneFacts, move: PointMap) -> SceneFacts:
    """The same facts in a picture whose points went elsewhere.

    A box becomes the one that encloses its four corners. What leaves the picture, a box or a trace also in part,
    becomes None: a cut-off box would be the box of another thing.
    """
    trace = None if facts.trace_px is None else _inside(move(facts.trace_px.astype(np.float64)))
    return replace(
        facts,
        targets=tuple(_moved_target(target, move) for target in facts.targets),
        gripper_px=moved_point(facts.gripper_px, move),
        trace_px=None if trace is None else trace.astype(np.float32),
    )


def moved_point(point: tuple[float, float] | None, move: PointMap) -> tuple[float, float] | None:
    """A point after `move`; None if it left the picture."""
    to = None if point is None else _inside(move(np.array([point], np.float64)))
    return None if to is None else (float(to[0, 0]), float(to[0, 1]))


def moved_box(
    box: tuple[float, float, float, float] | None, move: PointMap
) -> tuple[float, float, float, float] | None:
    """The box around a box's corners after `move`; None if one of them left the picture."""
    if box is None:
        return None
    corners = _inside(move(np.array([(y, x) for y in box[::2] for x in box[1::2]], np.float64)))
    if corners is None:
        return None
    (y0, x0), (y1, x1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return y0, x0, y1, x1


def turned(given: ImageOrientation, wanted: ImageOrientation) -> PointMap:
    """The map of points from pictures of one orientation to those of another.

    upright   rotated_180   flipped_vertically
     A b         d c             c d
     c d         b A             A b
    """
    rows = (given == "upright") != (wanted == "upright")
    columns = (given == "rotated_180") != (wanted == "rotated_180")

    def move(points: np.ndarray) -> np.ndarray:
        return np.where([rows, columns], 1 - points, points)

    return move


def padded(source_hw: tuple[int, int], padded_hw: tuple[int, int]) -> PointMap:
    """The map of points of `resize_with_pad` from pictures of `source_hw` to pictures of `padded_hw`."""
    inner, whole = np.array(fitted_size(*source_hw, *padded_hw)), np.array(padded_hw)

    def move(points: np.ndarray) -> np.ndarray:
        return ((whole - inner) // 2 + points * inner) / whole

    return move


def unpadded(source_hw: tuple[int, int], padded_hw: tuple[int, int]) -> PointMap:
    """The inverse of `padded`; points on the black margin lie outside of 0..1."""
    inner, whole = np.array(fitted_size(*source_hw, *padded_hw)), np.array(padded_hw)

    def move(points: np.ndarray) -> np.ndarray:
        return (points * whole - (whole - inner) // 2) / inner

    return move


def _moved_target(target: TargetFacts, move: PointMap) -> TargetFacts:
    return replace(target, point_px=moved_point(target.point_px, move), box_px=moved_box(target.box_px, move))


def _inside(points: np.ndarray) -> np.ndarray | None:
    """Points `[n, 2]` without rounding errors at the edges; None if one is outside of the picture."""
    if not ((points >= -_ROUNDING) & (points <= 1 + _ROUNDING)).all():
        return None
    return np.clip(points, 0.0, 1.0)
