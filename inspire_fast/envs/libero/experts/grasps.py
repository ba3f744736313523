"""Candidate grasps from above: places and turns at which the open hand fits around a part of a thing.

The hand is the Panda's, upright and open: areas of the ground, and the height of each part above it. Measured in the
simulator (collision shapes at rest): pads of 16 x 8 x 16 mm, their inner faces 76 mm apart; a body of 0.068 x 0.208 m,
its underside 24 mm above the grip site; the wrist is taken as a square of 0.16 m. At yaw zero the fingers close along
the world's y axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspire_fast.envs.libero.experts.height_map import HeightMap, rectangle, rotated

_PAD_BELOW_M = 0.005  # from the grip site to the pads' lower edge
PALM_ABOVE_M = 0.022  # from the grip site to the body's underside
_WRIST_ABOVE_M = 0.13
# Half sizes across and along the closing direction. The pads have 2 mm to spare, the wide pads a centimetre.
_PADS = np.concatenate([rectangle((0.010, 0.006), 0.004, (0, side * 0.043)) for side in (-1, 1)])
_WIDE_PADS = np.concatenate([rectangle((0.016, 0.010), 0.004, (0, side * 0.047)) for side in (-1, 1)])
_PALM = rectangle((0.036, 0.106), 0.015)
_WRIST = rectangle((0.08, 0.08), 0.02)
_BETWEEN = rectangle((0.008, 0.034), 0.004)  # the gap between the pads

_YAWS_RAD = np.deg2rad(np.arange(-90, 90, 15))
_STEP_M = 0.006  # between places; more for large things, so that about `_PLACES` remain
_PLACES = 700
_DEPTH_M = (0.006, 0.030)  # least and most that the finger tips reach below the top of what is between them
_CHOSEN = 160  # grasps that are refined


@dataclass(frozen=True, kw_only=True)
class Grasp:
    """A pose in which the hand closes.

    Attributes:
        point_m: the grip site, world frame, `[3]`.
        yaw_rad: the hand's rotation about the vertical, -pi/2..pi/2; at zero the fingers close along the y axis.
        cost: lower is better; see `candidates`.
    """

    point_m: np.ndarray
    yaw_rad: float
    cost: float


def lowest_m(ground: HeightMap, middles_m: np.ndarray, yaws_rad: np.ndarray) -> np.ndarray:
    """Lowest height of the grip site, `[n]`, at places `[n, 2]` and yaws `[n]`, before a part of the hand touches."""
    pads = ground.highest(middles_m, yaws_rad, _PADS) + _PAD_BELOW_M
    body = ground.highest(middles_m, yaws_rad, _PALM) - PALM_ABOVE_M
    return np.maximum(np.maximum(pads, body), ground.highest(middles_m, yaws_rad, _WRIST) - _WRIST_ABOVE_M)


def candidates(thing: np.ndarray, others: np.ndarray, floor_m: float) -> list[Grasp]:
    """Feasible grasps of a thing, spread over it, the cheapest first.

    A grasp is feasible if the pads and the body above them touch nothing on their way down, and only the thing is
    between the pads. Its cost grows with the distance from the thing's middle, the hand's rotation, a shallow grip,
    neighbours within a centimetre, and surfaces that are not square to the fingers.

    Args:
        thing: its points `[n, 3]` (see `height_map.thing_points`).
        others: points of everything else.
        floor_m: the table's height.
    """
    middle = (thing.min(axis=0) + thing.max(axis=0)) / 2
    reach = float(np.ptp(thing[:, :2], axis=0).max()) / 2 + 0.15
    # Two maps of the same cells, so that their maximum is the map of everything.
    target, rest = (HeightMap.of(points, middle, reach, floor_m) for points in (thing, others))
    both = HeightMap(target.corner_m, np.maximum(target.heights_m, rest.heights_m), floor_m)
    places, yaws = _grid(thing)
    top = target.highest(places, yaws, _BETWEEN)
    places, yaws, top = places[top > floor_m], yaws[top > floor_m], top[top > floor_m]
    height = np.maximum(np.maximum(lowest_m(both, places, yaws), floor_m + 0.007), top - _DEPTH_M[1])
    fits = (top - height > _DEPTH_M[0]) & (rest.highest(places, yaws, _BETWEEN) < height - _PAD_BELOW_M)
    places, yaws, height, top = places[fits], yaws[fits], height[fits], top[fits]
    crowded = rest.highest(places, yaws, _WIDE_PADS) + _PAD_BELOW_M > height
    cost = 8 * np.linalg.norm(places - middle[:2], axis=1) + 0.2 * np.abs(yaws)
    cost = cost + 20 * np.maximum(0, 0.022 - (top - height)) + 0.4 * crowded
    chosen = _spread(places, yaws, cost)
    refined = [_centred(thing, places[i], float(yaws[i]), float(height[i]), float(cost[i])) for i in chosen]
    return sorted((grasp for grasp in refined if grasp is not None), key=lambda grasp: grasp.cost)


def long_axis_rad(thing: np.ndarray) -> float:
    """Direction in which a thing's points spread most, seen from above."""
    spread = np.cov((thing[:, :2] - thing[:, :2].mean(axis=0)).T)
    x, y = np.linalg.eigh(spread)[1][:, 1]
    return float(np.arctan2(y, x))


def half_turn(angle_rad: float) -> float:
    """The angle of the same line in -pi/2..pi/2."""
    return float((angle_rad + np.pi / 2) % np.pi - np.pi / 2)


def _grid(thing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places `[n, 2]` over the thing, each with every yaw `[n]`, among them the two square to the thing's sides."""
    low, high = thing[:, :2].min(axis=0), thing[:, :2].max(axis=0)
    step_m = max(_STEP_M, float(np.sqrt(np.prod(high - low) / _PLACES)))
    axes = [np.arange(a - 0.01, b + 0.01, step_m) for a, b in zip(low, high, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    along = long_axis_rad(thing)
    yaws = np.array([*_YAWS_RAD, half_turn(along), half_turn(along + np.pi / 2)])
    return np.repeat(places, len(yaws), axis=0), np.tile(yaws, len(places))


def _spread(places: np.ndarray, yaws: np.ndarray, cost: np.ndarray) -> list[int]:
    """Indices of the cheapest grasp per 2 cm cell and 10 degrees of yaw, the `_CHOSEN` cheapest of them."""
    cells = np.column_stack([places // 0.02, np.rad2deg(yaws) // 10])
    order = np.argsort(cost, kind="stable")
    _, first = np.unique(cells[order], axis=0, return_index=True)
    return order[np.sort(first)][:_CHOSEN].tolist()


def _centred(thing: np.ndarray, place: np.ndarray, yaw: float, height: float, cost: float) -> Grasp | None:
    """The grasp moved so that both fingers arrive together; None if there is nothing to press on."""
    # Points in the hand's frame: x across, y along the closing direction.
    local = rotated(thing - [*place, 0], -yaw)
    band = (np.abs(local[:, 0]) < 0.008) & (np.abs(local[:, 1]) < 0.038)
    between = local[band & (local[:, 2] > height - _PAD_BELOW_M) & (local[:, 2] < height + 0.012)]
    if len(between) < 6:
        return None
    low, high = between[:, 1].min(), between[:, 1].max()
    halves = [between[between[:, 0] < 0, 1], between[between[:, 0] >= 0, 1]]
    if min(map(len, halves)) < 2:
        return None
    slant = max(abs(halves[0].min() - halves[1].min()), abs(halves[0].max() - halves[1].max()))
    centre = place + rotated(np.array([0, (low + high) / 2]), yaw)
    return Grasp(point_m=np.array([*centre, height]), yaw_rad=yaw, cost=cost + 30 * float(slant))
