"""Placements of a held thing: the spot and rotation at which it comes down lowest, and obstacles on the way there."""

from __future__ import annotations

from dataclasses import dataclass
import itertools

import numpy as np

from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.grasps import long_axis_rad, lowest_m
from inspire_fast.envs.libero.experts.height_map import CELL_M, HeightMap, rotated

_TURNS_RAD = np.deg2rad([0, -30, 30, -60, 60, -90, 90])
_FRACTIONS = (0.0, -0.35, 0.35, -0.7, 0.7)  # of a region's half size: the spots that are tried
_FARTHEST_YAW_RAD = 1.75  # the wrist turns no further to either side
_OUT_M, _ROOM_M = 0.2, 0.015  # longest way out from under another thing, and the free room needed there
_ABOVE_M = 0.004  # a thing is let go this far above its resting height


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A pose in which a thing is let go.

    Attributes:
        origin_m: the thing's origin, world frame, `[3]`.
        rest_m: height at which the origin comes to rest if the thing falls straight.
        turn_rad: the thing's rotation about the vertical on the way.
        cost: lower is better: distance from the middle, rotation, height of the fall.
    """

    origin_m: np.ndarray
    rest_m: float
    turn_rad: float
    cost: float


def underside(thing: np.ndarray) -> np.ndarray:
    """The lowest of the points `[n, 3]` over each cell of the ground."""
    cells = np.floor(thing[:, :2] / CELL_M).astype(int)
    order = np.lexsort((thing[:, 2], cells[:, 1], cells[:, 0]))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(cells[order], axis=0) != 0).any(axis=1)
    return thing[order][first]


def spots(environment: LiberoEnvironment, goal: tuple[str, str, str]) -> np.ndarray:
    """Points `[n, 2]` of the place in a goal `(verb, thing, place)`, the preferred one first.

    An object has one spot, its middle; a region has several. Things that share a place keep to its ends.
    """
    place = goal[2]
    middle, half = environment.position_m(place), half_size_m(environment, place)
    offsets = np.array(list(itertools.product(_FRACTIONS, _FRACTIONS)))
    if not half.any():
        return middle[None, :2]
    sharing = [other for other in environment.problem.goal if other[0] == "on" and other[-1] == place]
    if len(sharing) > 1 and goal in sharing:
        along = np.argmax(half[:2])
        share = np.eye(2)[along] * np.linspace(-_FRACTIONS[-1], _FRACTIONS[-1], len(sharing))[sharing.index(goal)]
        offsets = offsets[np.argsort(np.linalg.norm(offsets - share, axis=1), kind="stable")]
    return middle[:2] + offsets * half[:2]


def half_size_m(environment: LiberoEnvironment, place: str) -> np.ndarray:
    """Half of a region's size along the world's axes, `[3]`, as in LIBERO's own check; zeros for an object."""
    domain = environment.simulator
    if place not in domain.object_sites_dict:
        return np.zeros(3)
    matrix = np.reshape(domain.sim.data.get_site_xmat(place), (3, 3))
    return np.abs(matrix @ np.array(domain.object_sites_dict[place].size))


class Placer:
    """Finds placements of one thing at one place, for any grip on it.

    Args:
        ground: the place's surroundings, without the thing.
        spots_m: `[n, 2]`, see `spots`.
        thing: its points `[k, 3]` relative to its origin.
    """

    def __init__(self, ground: HeightMap, spots_m: np.ndarray, thing: np.ndarray) -> None:
        self._ground = ground
        along = long_axis_rad(thing)
        aligned = [(a - along + np.pi) % (2 * np.pi) - np.pi for a in np.arange(4) * np.pi / 2]
        turns = np.array([*_TURNS_RAD, *aligned])
        # Every spot with every turn, [n]; the thing rests where the first of its lower points [n, k] touches.
        self._spots = np.repeat(spots_m, len(turns), axis=0)
        self._turns = np.tile(turns, len(spots_m))
        below = underside(thing)
        where = self._spots[:, None] + rotated(below[None, :, :2], self._turns[:, None])
        self._rest_m = (ground.at(where) - below[:, 2]).max(axis=1)
        aside = np.linalg.norm(self._spots - spots_m[0], axis=1)
        self._cost = 2 * aside + 0.15 * np.abs(self._turns) + 30 * (self._rest_m - self._rest_m.min())

    def best(self, grip_m: np.ndarray, yaw_rad: float) -> Placement:
        """The cheapest placement for a grip site at `[3]` relative to the thing's origin, and the hand's yaw."""
        yaws = yaw_rad + self._turns
        middles = self._spots + rotated(grip_m[None, :2], self._turns)
        hand_m = lowest_m(self._ground, middles, yaws) - grip_m[2]
        height = np.maximum(self._rest_m, hand_m + 0.004)
        cost = self._cost + 6 * (height - self._rest_m) + np.where(np.abs(yaws) > _FARTHEST_YAW_RAD, 100.0, 0.0)
        best = int(np.argmin(cost))
        return Placement(
            origin_m=np.array([*self._spots[best], height[best] + _ABOVE_M]),
            rest_m=float(self._rest_m[best]),
            turn_rad=float(self._turns[best]),
            cost=float(cost[best]),
        )


def way_out_m(thing: np.ndarray, others: np.ndarray, floor_m: float) -> np.ndarray:
    """The shortest horizontal way, `[3]`, out from under everything above a thing's points `[n, 3]`.

    Zero if nothing is above it, and if no way of up to `_OUT_M` leads out.
    """
    middle, top = (thing.min(axis=0) + thing.max(axis=0)) / 2, float(thing[:, 2].max())
    ground = HeightMap.of(others, middle, 0.35, floor_m)
    cells = underside(thing)[:, :2]
    edges = np.concatenate([cells + np.array(step) for step in itertools.product((-_ROOM_M, 0, _ROOM_M), repeat=2)])
    if ground.at(cells).max() <= top:
        return np.zeros(3)
    for reach in np.arange(_ROOM_M, _OUT_M, _ROOM_M):
        ways = reach * rotated(np.array([1.0, 0.0]), np.arange(0, 2 * np.pi, np.pi / 8))
        free = [way for way in ways if ground.at(edges + way).max() <= top]
        if free:
            return np.array([*free[0], 0.0])
    return np.zeros(3)


def highest_between(points: np.ndarray, start_m: np.ndarray, end_m: np.ndarray, radius_m: float) -> float:
    """The highest of the points `[n, 3]` within a radius of the straight horizontal way; -inf if there is none."""
    way = end_m[:2] - start_m[:2]
    # The nearest point of the way, as a fraction of it, for each point.
    along = np.clip((points[:, :2] - start_m[:2]) @ way / max(float(way @ way), 1e-9), 0, 1)
    aside = np.linalg.norm(points[:, :2] - start_m[:2] - along[:, None] * way, axis=1)
    return float(points[aside < radius_m, 2].max(initial=-np.inf))
