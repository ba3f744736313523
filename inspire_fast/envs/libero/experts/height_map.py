"""Shapes of a scene for the experts: points on collision boxes, and maps of the highest point over each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment

_SPACING_M = 0.0035  # between neighbouring points of a face
CELL_M = 0.004  # of a height map


def thing_points(environment: LiberoEnvironment, name: str, spacing_m: float = _SPACING_M) -> np.ndarray:
    """Points `[n, 3]` on the faces of a thing's collision boxes, world frame, metres; other shapes by their own box."""
    domain = environment.simulator
    model, data = domain.sim.model._model, domain.sim.data._data
    points = []
    for geom in domain.get_object(name).contact_geoms:
        index = domain.sim.model.geom_name2id(geom)
        axes = data.geom_xmat[index].reshape(3, 3)
        centre, half = model.geom_aabb[index, :3], model.geom_aabb[index, 3:]
        points.append(data.geom_xpos[index] + (centre + box_faces(half, spacing_m)) @ axes.T)
    return np.concatenate(points)


def box_faces(half_m: np.ndarray, spacing_m: float = _SPACING_M) -> np.ndarray:
    """Points `[n, 3]` on the faces of a box around the origin, at most `spacing_m` apart along each edge."""
    counts = [int(np.ceil(2 * h / spacing_m)) + 1 for h in half_m]
    steps = np.stack(np.meshgrid(*(np.arange(c) for c in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    last = np.maximum(np.array(counts) - 1, 1)
    outside = ((steps == 0) | (steps == np.array(counts) - 1)).any(axis=1)
    return (2 * steps[outside] / last - 1) * half_m


def scene_points(environment: LiberoEnvironment, without: Sequence[str] = ()) -> np.ndarray:
    """Points `[n, 3]` on every object and fixture except those named; tables and floors are left out."""
    parts = [thing_points(environment, name, 0.005) for name in environment.bodies if name not in without]
    return np.concatenate([*parts, np.zeros((0, 3))])


def table_height_m(environment: LiberoEnvironment) -> float:
    """Height of the table: the lower side of the lowest movable object."""
    return min(float(environment.bounds_m(name)[0][2]) for name in environment.movable)


def rectangle(half_m: tuple[float, float], spacing_m: float, centre_m: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Points `[n, 2]` that fill a rectangle, its edges included."""
    axes = [c + np.linspace(-h, h, int(np.ceil(2 * h / spacing_m)) + 1) for h, c in zip(half_m, centre_m, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def rotated(points: np.ndarray, angle_rad: np.ndarray | float) -> np.ndarray:
    """Points `[..., 2 or 3]` rotated about the vertical axis through the origin: to the left, seen from above."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    x, y = points[..., 0], points[..., 1]
    height = [np.broadcast_to(points[..., 2], np.shape(cos * x))] if points.shape[-1] == 3 else []
    return np.stack([cos * x - sin * y, sin * x + cos * y, *height], axis=-1)


@dataclass(frozen=True)
class HeightMap:
    """The highest point over each cell of a square of the ground.

    Attributes:
        corner_m: the square's corner of lowest x and y, `[2]`.
        heights_m: `[x, y]`, cells of `CELL_M`; `floor_m` where a cell is empty.
        floor_m: the table's height.
    """

    corner_m: np.ndarray
    heights_m: np.ndarray
    floor_m: float

    @classmethod
    def of(cls, points: np.ndarray, middle_m: np.ndarray, reach_m: float, floor_m: float) -> HeightMap:
        """The map of points `[n, 3]` within `reach_m` of `middle_m`, along each axis."""
        corner, count = middle_m[:2] - reach_m, int(np.ceil(2 * reach_m / CELL_M))
        cells = np.floor((points[:, :2] - corner) / CELL_M).astype(int)
        inside = ((cells >= 0) & (cells < count)).all(axis=1)
        heights = np.full((count, count), floor_m)
        np.maximum.at(heights, tuple(cells[inside].T), points[inside, 2])
        return cls(corner, heights, floor_m)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Heights at points `[..., 2]`; outside the map, the floor's."""
        cells = np.floor((points - self.corner_m) / CELL_M).astype(int)
        inside = ((cells >= 0) & (cells < self.heights_m.shape[0])).all(axis=-1)
        x, y = np.moveaxis(np.where(inside[..., None], cells, 0), -1, 0)
        return np.where(inside, self.heights_m[x, y], self.floor_m)

    def highest(self, middles_m: np.ndarray, yaws_rad: np.ndarray, area: np.ndarray) -> np.ndarray:
        """The highest point under an area, `[n]`.

        Args:
            middles_m: places of the area, `[n, 2]` or `[n, 3]`.
            yaws_rad: its rotation at each place, `[n]`.
            area: its points `[k, 2]`, around the origin.
        """
        placed = middles_m[:, None, :2] + rotated(area[None], yaws_rad[:, None])
        return self.at(placed).max(axis=1)
