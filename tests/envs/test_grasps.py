import numpy as np
import pytest

from inspire_fast.envs.libero.experts.grasps import PALM_ABOVE_M, candidates, lowest_m
from inspire_fast.envs.libero.experts.height_map import HeightMap, box_faces, rotated
from inspire_fast.envs.libero.experts.placing import Placer, highest_between, underside

TABLE_M = 0.9


def box(size_m: tuple[float, float, float], at: tuple[float, float] = (0, 0), yaw_deg: float = 0) -> np.ndarray:
    """Points on a box on the table."""
    points = rotated(box_faces(np.array(size_m) / 2), np.deg2rad(yaw_deg))
    return points + np.array([*at, TABLE_M + size_m[2] / 2])


def nothing() -> np.ndarray:
    return np.zeros((0, 3))


def across_deg(yaw_rad: float) -> float:
    """The direction in which the fingers close, 0..180 degrees from the world's x axis."""
    return float(np.rad2deg(yaw_rad) + 90) % 180


def test_a_box_has_points_on_its_faces_only_and_close_together():
    points = box_faces(np.array([0.02, 0.01, 0.005]), 0.004)
    np.testing.assert_allclose(np.abs(points).max(axis=0), [0.02, 0.01, 0.005])
    assert (np.isclose(np.abs(points), [0.02, 0.01, 0.005]).any(axis=1)).all()
    assert np.diff(np.unique(points[:, 0].round(6))).max() <= 0.004 + 1e-9


def test_a_height_map_knows_the_highest_and_the_floor():
    ground = HeightMap.of(np.concatenate([box((0.1, 0.1, 0.05)), box((0.02, 0.02, 0.2))]), np.zeros(3), 0.2, TABLE_M)
    heights = ground.at(np.array([[0, 0], [0.04, 0.04], [0.1, 0.0], [5.0, 5.0]]))
    np.testing.assert_allclose(heights, [TABLE_M + 0.2, TABLE_M + 0.05, TABLE_M, TABLE_M])


@pytest.mark.parametrize("yaw_deg", [0, 30, -70])
def test_a_long_box_is_taken_across_its_narrow_side_in_the_middle(yaw_deg: float):
    best = candidates(box((0.16, 0.04, 0.06), (0.1, -0.2), yaw_deg), nothing(), TABLE_M)[0]
    assert np.linalg.norm(best.point_m[:2] - [0.1, -0.2]) < 0.01
    assert abs((across_deg(best.yaw_rad) - (90 + yaw_deg) + 90) % 180 - 90) < 8
    assert TABLE_M < best.point_m[2] < TABLE_M + 0.06


def test_a_neighbour_turns_the_hand():
    thing, neighbour = box((0.05, 0.05, 0.08)), box((0.05, 0.05, 0.2), (0, 0.06))
    alone = candidates(thing, nothing(), TABLE_M)[0]
    assert across_deg(alone.yaw_rad) == pytest.approx(90, abs=8)  # along y, the neighbour's direction
    beside = candidates(thing, neighbour, TABLE_M)[0]
    assert min(across_deg(beside.yaw_rad), 180 - across_deg(beside.yaw_rad)) < 31


def test_what_is_wider_than_the_hand_has_bad_grasps_and_what_is_walled_in_none():
    assert all(grasp.cost > 1 for grasp in candidates(box((0.2, 0.2, 0.05)), nothing(), TABLE_M))  # over a corner
    assert candidates(box((0.05, 0.05, 0.05)), nothing(), TABLE_M)[0].cost < 0.1
    walls = [box((0.2, 0.02, 0.2), (0, side * 0.04)) for side in (-1, 1)]
    walls += [box((0.02, 0.2, 0.2), (side * 0.04, 0)) for side in (-1, 1)]
    assert not candidates(box((0.05, 0.05, 0.05)), np.concatenate(walls), TABLE_M)


def test_an_open_vessel_is_taken_by_its_wall():
    sides = [box((0.12, 0.006, 0.06), (0, side * 0.057)) for side in (-1, 1)]
    sides += [box((0.006, 0.12, 0.06), (side * 0.057, 0)) for side in (-1, 1)]
    vessel = np.concatenate([*sides, box((0.12, 0.12, 0.006))])
    best = candidates(vessel, nothing(), TABLE_M)[0]
    assert max(abs(best.point_m[:2])) == pytest.approx(0.057, abs=0.004)


def test_the_hand_comes_down_as_far_as_its_parts_allow():
    ground = HeightMap.of(box((0.06, 0.3, 0.1)), np.zeros(3), 0.3, TABLE_M)
    along, across = lowest_m(ground, np.zeros((2, 2)), np.array([0.0, np.pi / 2]))
    assert along > TABLE_M + 0.1  # the pads touch it
    assert across == pytest.approx(TABLE_M + 0.1 - PALM_ABOVE_M)  # they pass on both sides, the palm touches it


def test_a_thing_is_turned_to_fit_its_slot_and_lowered_to_its_floor():
    walls = np.concatenate([box((0.2, 0.01, 0.08), (0, side * 0.03)) for side in (-1, 1)])
    ground = HeightMap.of(walls, np.zeros(3), 0.3, TABLE_M)
    book = box((0.03, 0.12, 0.1)) - [0, 0, TABLE_M]
    placement = Placer(ground, np.zeros((1, 2)), book).best(np.array([0, 0, 0.08]), 0.0)
    assert abs(np.rad2deg(placement.turn_rad)) == pytest.approx(90, abs=1)
    assert placement.rest_m == pytest.approx(TABLE_M, abs=1e-6)
    assert placement.origin_m[2] < TABLE_M + 0.03


def test_a_spot_that_is_taken_is_avoided():
    ground = HeightMap.of(box((0.05, 0.05, 0.1)), np.zeros(3), 0.3, TABLE_M)
    cube = box((0.04, 0.04, 0.04)) - [0, 0, TABLE_M]
    spots_m = np.array([[0.0, 0.0], [0.0, 0.02], [0.12, 0.0]])
    placement = Placer(ground, spots_m, cube).best(np.array([0, 0, 0.03]), 0.0)
    np.testing.assert_allclose(placement.origin_m[:2], [0.12, 0])


def test_the_underside_and_the_way():
    tall, wide = box((0.02, 0.02, 0.3)), box((0.1, 0.1, 0.02), (0.3, 0))
    lowest = underside(np.concatenate([tall, tall + np.array([0, 0, 0.5])]))
    assert lowest[:, 2].max() < TABLE_M + 0.31
    points = np.concatenate([tall, wide])
    start, end = np.array([-0.2, 0, 1]), np.array([0.2, 0, 1])
    assert highest_between(points, start, end, 0.05) == pytest.approx(TABLE_M + 0.3)
    aside = np.array([0, 0.2, 0])
    assert highest_between(points, start + aside, end + aside, 0.05) == -np.inf
