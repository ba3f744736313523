"""Shapes of a scene as the experts see them: points on the collision boxes, and maps of how high things stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment

_SPACING_M = 0.0035  # between neighbouring points of a face
CELL_M = 0.004  # of a height map


def cloud(environment: LiberoEnvironment, name: str, spacing_m: float = _SPACING_M) -> np.ndarray:
    """Points `[n, 3]` on the faces of a thing's collision boxes (others by their own box), world frame, metres."""
    domain = environment.simulator
    model, data = domain.sim.model._model, domain.sim.data._data
    owner = domain.objects_dict[name] if name in domain.objects_dict else domain.fixtures_dict[name]
    parts = []
    for geom in owner.contact_geoms:
        index = domain.sim.model.geom_name2id(geom)
        axes = data.geom_xmat[index].reshape(3, 3)
        centre, half = model.geom_aabb[index, :3], model.geom_aabb[index, 3:]
        parts.append(data.geom_xpos[index] + (centre + box_faces(half, spacing_m)) @ axes.T)
    return np.concatenate(parts)


def box_faces(half_m: np.ndarray, spacing_m: float = _SPACING_M) -> np.ndarray:
    """Points `[n, 3]` on the faces of a box around the origin, at most `spacing_m` apart along each edge."""
    counts = [int(np.ceil(2 * h / spacing_m)) + 1 for h in half_m]
    steps = np.stack(np.meshgrid(*(np.arange(c) for c in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    last = np.maximum(np.array(counts) - 1, 1)
    outside = ((steps == 0) | (steps == np.array(counts) - 1)).any(axis=1)
    return (2 * steps[outside] / last - 1) * half_m


def scene(environment: LiberoEnvironment, without: Sequence[str] = ()) -> np.ndarray:
    """Points `[n, 3]` on every object and fixture but those named; tables and floors are no part of it."""
    parts = [cloud(environment, name, 0.005) for name in environment.bodies if name not in without]
    return np.concatenate([*parts, np.zeros((0, 3))])


def surface_m(environment: LiberoEnvironment) -> float:
    """Height of the table: where the lowest movable object stands."""
    return min(float(environment.bounds_m(name)[0][2]) for name in environment.movable)


def rectangle(half_m: tuple[float, float], spacing_m: float, centre_m: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Points `[n, 2]` that fill a rectangle, its edges included."""
    axes = [c + np.linspace(-h, h, int(np.ceil(2 * h / spacing_m)) + 1) for h, c in zip(half_m, centre_m, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def turned(points: np.ndarray, angle_rad: np.ndarray | float) -> np.ndarray:
    """Points `[..., 2 or 3]` turned about the vertical axis through the origin: to the left, seen from above."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    x, y = points[..., 0], points[..., 1]
    aside = [np.broadcast_to(points[..., 2], np.shape(cos * x))] if points.shape[-1] == 3 else []
    return np.stack([cos * x - sin * y, sin * x + cos * y, *aside], axis=-1)


@dataclass(frozen=True)
class HeightMap:
    """The highest point over each cell of a square of the ground.

    Attributes:
        corner_m: the square's corner of lowest x and y, `[2]`.
        heights_m: `[x, y]`, cells of `CELL_M`; `floor_m` where nothing stands.
        floor_m: the table's height.
    """

    corner_m: np.ndarray
    heights_m: np.ndarray
    floor_m: float

    @classmethod
    def of(cls, points: np.ndarray, middle_m: np.ndarray, reach_m: float, floor_m: float) -> HeightMap:
        """The map of what stands within `reach_m` of a point, along each axis."""
        corner, count = middle_m[:2] - reach_m, int(np.ceil(2 * reach_m / CELL_M))
        cells = np.floor((points[:, :2] - corner) / CELL_M).astype(int)
        inside = ((cells >= 0) & (cells < count)).all(axis=1)
        heights = np.full((count, count), floor_m)
        np.maximum.at(heights, tuple(cells[inside].T), points[inside, 2])
        return cls(corner, heights, floor_m)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Heights under points `[..., 2]`; outside of the map, the floor's."""
        cells = np.floor((points - self.corner_m) / CELL_M).astype(int)
        inside = ((cells >= 0) & (cells < self.heights_m.shape[0])).all(axis=-1)
        x, y = np.moveaxis(np.where(inside[..., None], cells, 0), -1, 0)
        return np.where(inside, self.heights_m[x, y], self.floor_m)

    def highest(self, middles_m: np.ndarray, yaws_rad: np.ndarray, area: np.ndarray) -> np.ndarray:
        """The highest under an area, points `[k, 2]`, put at `[n, 2]` and turned by `[n]`: heights `[n]`."""
        placed = middles_m[:, None, :2] + turned(area[None], yaws_rad[:, None])
        return self.at(placed).max(axis=1)
