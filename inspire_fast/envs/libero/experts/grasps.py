"""Candidate grasps from above, of any thing: where the fingers find room beside it, and something between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspire_fast.envs.libero.experts.height_map import HeightMap, rectangle, turned

PAD_BELOW_M = 0.005  # from the grip site to the pads' lower edge
PALM_ABOVE_M = 0.022  # from the grip site to the body's underside
OPENING_M = 0.076
_PAD = (0.010, 0.006)  # half sizes with 2 mm to spare, across and along the fingers' way
_PADS = np.concatenate([rectangle(_PAD, 0.004, (0, side * 0.043)) for side in (-1, 1)])
_WIDE = np.concatenate([rectangle((0.016, 0.010), 0.004, (0, side * 0.047)) for side in (-1, 1)])
_PALM = rectangle((0.036, 0.106), 0.015)
_WRIST = rectangle((0.08, 0.08), 0.02)
_WRIST_ABOVE_M = 0.13
BETWEEN = rectangle((0.008, 0.034), 0.004)

_YAWS_RAD = np.deg2rad(np.arange(-90, 90, 15))
_STEP_M = 0.006  # between candidates, more for large things: about this many places are looked at
_PLACES = 700
_DEPTH_M = (0.006, 0.030)  # least and most that the finger tips reach below what is between them
_KEPT = 40


@dataclass(frozen=True, kw_only=True)
class Grasp:
    """Where the hand closes.

    Attributes:
        point_m: the grip site, world frame, `[3]`.
        yaw_rad: the hand's turn about the vertical, -pi/2..pi/2; at zero the fingers close along the world's y axis.
        cost: how bad it looks; see `candidates`.
    """

    point_m: np.ndarray
    yaw_rad: float
    cost: float


def lowest_m(ground: HeightMap, middles_m: np.ndarray, yaws_rad: np.ndarray) -> np.ndarray:
    """How low the grip site can come, `[n]`, at `[n, 2]` with the hand turned by `[n]` radians, before a part touches."""
    pads = ground.highest(middles_m, yaws_rad, _PADS) + PAD_BELOW_M
    body = ground.highest(middles_m, yaws_rad, _PALM) - PALM_ABOVE_M
    return np.maximum(np.maximum(pads, body), ground.highest(middles_m, yaws_rad, _WRIST) - _WRIST_ABOVE_M)


def crowded_m(ground: HeightMap, middles_m: np.ndarray, yaws_rad: np.ndarray) -> np.ndarray:
    """As `lowest_m`, for pads with a centimetre of room around them."""
    return ground.highest(middles_m, yaws_rad, _WIDE) + PAD_BELOW_M


def candidates(thing: np.ndarray, others: np.ndarray, floor_m: float) -> list[Grasp]:
    """The best grasps, best first, spread over the thing.

    A grasp is feasible where the pads, the hand's body above them and what is between them meet nothing on their way down
    but the thing between the fingers. It costs: distance from the thing's middle, turning the hand, a shallow hold,
    surfaces that are not square to the fingers, neighbours within a centimetre.

    Args:
        thing: its points `[n, 3]` (see `shapes.cloud`).
        others: those of everything else.
        floor_m: the table's height.
    """
    middle = (thing.min(axis=0) + thing.max(axis=0)) / 2
    reach = float(np.ptp(thing[:, :2], axis=0).max()) / 2 + 0.15
    target, rest = (HeightMap.of(points, middle, reach, floor_m) for points in (thing, others))
    both = HeightMap(target.corner_m, np.maximum(target.heights_m, rest.heights_m), floor_m)
    places, yaws = _grid(thing)
    top = target.highest(places, yaws, BETWEEN)
    places, yaws, top = places[top > floor_m], yaws[top > floor_m], top[top > floor_m]
    height = np.maximum(np.maximum(lowest_m(both, places, yaws), floor_m + 0.007), top - _DEPTH_M[1])
    fits = (top - height > _DEPTH_M[0]) & (rest.highest(places, yaws, BETWEEN) < height - PAD_BELOW_M)
    places, yaws, height, top = places[fits], yaws[fits], height[fits], top[fits]
    cost = 8 * np.linalg.norm(places - middle[:2], axis=1) + 0.2 * np.abs(yaws)
    cost = cost + 20 * np.maximum(0, 0.022 - (top - height)) + 0.4 * (crowded_m(rest, places, yaws) > height)
    chosen = _spread(places, yaws, cost)
    refined = [_centred(thing, places[i], float(yaws[i]), float(height[i]), float(cost[i])) for i in chosen]
    return sorted((grasp for grasp in refined if grasp is not None), key=lambda grasp: grasp.cost)


def _grid(thing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places `[n, 2]` over the thing, each with every yaw `[n]`; those square to the thing's longer side among them."""
    low, high = thing[:, :2].min(axis=0), thing[:, :2].max(axis=0)
    step_m = max(_STEP_M, float(np.sqrt(np.prod(high - low) / _PLACES)))
    axes = [np.arange(a - 0.01, b + 0.01, step_m) for a, b in zip(low, high, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    along = long_axis_rad(thing)
    square = [_half_turn(along), _half_turn(along + np.pi / 2)]
    yaws = np.array([*_YAWS_RAD, *square])
    return np.repeat(places, len(yaws), axis=0), np.tile(yaws, len(places))


def long_axis_rad(thing: np.ndarray) -> float:
    """The direction, seen from above, along which a thing's points spread most."""
    spread = np.cov((thing[:, :2] - thing[:, :2].mean(axis=0)).T)
    x, y = np.linalg.eigh(spread)[1][:, 1]
    return float(np.arctan2(y, x))


def _half_turn(angle_rad: float) -> float:
    """The same line as an angle in -pi/2..pi/2."""
    return float((angle_rad + np.pi / 2) % np.pi - np.pi / 2)


def _spread(places: np.ndarray, yaws: np.ndarray, cost: np.ndarray) -> list[int]:
    """The cheapest of each 2 cm cell and yaw, the `4 * _KEPT` cheapest of those."""
    keys: set[tuple[int, int, int]] = set()
    chosen = []
    for index in np.argsort(cost, kind="stable"):
        key = (int(places[index, 0] // 0.02), int(places[index, 1] // 0.02), int(np.rad2deg(yaws[index]) // 10))
        if key not in keys:
            keys.add(key)
            chosen.append(int(index))
        if len(chosen) == 4 * _KEPT:
            break
    return chosen


def _centred(thing: np.ndarray, place: np.ndarray, yaw: float, height: float, cost: float) -> Grasp | None:
    """The grasp moved so that both fingers arrive together; None where there is nothing to press on."""
    local = turned(thing - [*place, 0], -yaw)
    band = (np.abs(local[:, 0]) < 0.008) & (np.abs(local[:, 1]) < 0.038)
    between = local[band & (local[:, 2] > height - PAD_BELOW_M) & (local[:, 2] < height + 0.012)]
    if len(between) < 6:
        return None
    low, high = between[:, 1].min(), between[:, 1].max()
    halves = [between[between[:, 0] < 0, 1], between[between[:, 0] >= 0, 1]]
    if min(map(len, halves)) < 2:
        return None
    slant = max(abs(halves[0].min() - halves[1].min()), abs(halves[0].max() - halves[1].max()))
    centre = place + turned(np.array([0, (low + high) / 2]), yaw)
    return Grasp(point_m=np.array([*centre, height]), yaw_rad=yaw, cost=cost + 30 * float(slant))
