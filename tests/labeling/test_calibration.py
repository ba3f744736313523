"""A camera is found again from noisy places of the gripper."""

from __future__ import annotations

from pathlib import Path
import re

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from inspire_fast.data.errors import DatasetError
from inspire_fast.labeling.calibration import PinholeCamera, calibrate, load, save, three_points

HW = (480, 640)
TABLE = np.stack([*np.meshgrid(np.linspace(0.3, 0.7, 5), np.linspace(-0.3, 0.3, 5), [0.0])], axis=-1).reshape(-1, 3)


def camera_over_the_table(*, mirrored: bool = False, focal_px: float = 600.0) -> PinholeCamera:
    """A metre in front of the table's middle, half a metre above it, looking down at it."""
    eye, at = np.array([1.5, 0.2, 0.7]), np.array([0.5, 0.0, 0.1])
    forward = (at - eye) / np.linalg.norm(at - eye)
    right = np.cross(forward, [0, 0, 1]) / np.linalg.norm(np.cross(forward, [0, 0, 1]))
    rotation = np.stack([right, np.cross(forward, right), forward])
    return PinholeCamera(
        rotation=rotation, translation_m=-rotation @ eye, focal_px=focal_px, picture_hw=HW, mirrored=mirrored
    )


def episodes(count: int = 4, frames: int = 70, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positions `[n, 3]` of grippers that go down to a thing, up, and to a place, and their episodes `[n]`."""
    rng, paths = np.random.default_rng(seed), []
    for _ in range(count):
        thing, place = (np.array([*rng.uniform([0.35, -0.25], [0.65, 0.25]), 0.02]) for _ in range(2))
        above, over = thing + np.array([0, 0, 0.2]), place + np.array([0, 0, 0.2])
        via = [np.array([0.4, 0, 0.35]), above, thing, above, over, place]
        times = np.linspace(0, len(via) - 1, frames)
        paths.append(np.stack([np.interp(times, range(len(via)), np.array(via)[:, axis]) for axis in range(3)], axis=1))
    return np.concatenate(paths), np.repeat(np.arange(count), frames)


def table_error_px(found: PinholeCamera, true: PinholeCamera) -> np.ndarray:
    return np.linalg.norm(found.pixels(TABLE) - true.pixels(TABLE), axis=1)


@settings(settings.get_profile("few"))
@given(st.integers(0, 10_000))
def test_three_points_have_the_true_pose_among_their_solutions(seed: int):
    rng = np.random.default_rng(seed)
    rotation, translation = Rotation.random(random_state=rng).as_matrix(), rng.uniform([-0.3, -0.3, 1], [0.3, 0.3, 3])
    seen = rng.uniform([-0.5, -0.5, 1], [0.5, 0.5, 2], (3, 3))
    points = (seen - translation) @ rotation
    poses = list(three_points(points, seen / np.linalg.norm(seen, axis=1, keepdims=True)))
    assert 1 <= len(poses) <= 4
    for turned, moved in poses:
        rays = points @ turned.T + moved
        np.testing.assert_allclose(np.cross(rays, seen), 0, atol=1e-4)
        assert np.linalg.det(turned) == pytest.approx(1)
    assert min(np.abs(turned - rotation).max() for turned, _ in poses) < 1e-3


@pytest.mark.parametrize(("mirrored", "focal_px"), [(False, None), (True, 600.0)])
def test_a_camera_is_found_from_noisy_detections(mirrored: bool, focal_px: float | None):
    """4 episodes of 70 frames, 5 px of noise, 10 % of the places anywhere: within 4 px on the table."""
    true, (points, numbers) = camera_over_the_table(mirrored=mirrored), episodes()
    rng = np.random.default_rng(1)
    places = np.clip(true.pixels(points) + rng.normal(scale=5, size=(len(points), 2)), 0, HW[::-1])
    wrong = rng.random(len(points)) < 0.1
    places[wrong] = rng.uniform(0, HW[::-1], (wrong.sum(), 2))
    found = calibrate(points, places, numbers, HW, focal_px=focal_px)
    error = table_error_px(found.camera, true)
    assert np.median(error) < (2.0 if focal_px else 4.0)
    assert error.max() < (4.0 if focal_px else 8.0)
    assert found.camera.mirrored == mirrored
    assert found.inliers[~wrong].mean() > 0.9
    assert found.inliers[wrong].mean() < 0.2
    assert len(found.left_out_px) == 4
    assert 3 < np.median(found.left_out_px) < 9  # of places with that noise
    assert re.search(r"base_0_rgb.*of 640 px width.*\n.*median .*\nin an episode left out: median", str(found))


def test_forty_clicks_are_enough():
    true, (points, numbers) = camera_over_the_table(), episodes()
    rng = np.random.default_rng(2)
    chosen = np.sort(rng.choice(len(points), 40, replace=False))
    places = true.pixels(points[chosen]) + rng.normal(scale=3, size=(40, 2))
    found = calibrate(points[chosen], places, numbers[chosen], HW)
    assert np.median(table_error_px(found.camera, true)) < 5
    assert found.inliers.mean() > 0.9


def test_a_calibration_comes_back(tmp_path: Path):
    true, (points, numbers) = camera_over_the_table(mirrored=True), episodes(frames=10)
    found = calibrate(points, true.pixels(points), numbers, HW, name="base_0_rgb")
    assert table_error_px(found.camera, true).max() < 0.1
    save(found, tmp_path / "c.json")
    name, camera = load(tmp_path / "c.json")
    assert (name, camera.picture_hw, camera.mirrored) == ("base_0_rgb", HW, True)
    np.testing.assert_allclose(camera.project(points), found.camera.project(points))
    (tmp_path / "d.json").write_text('{"camera": "a", "picture_hw": [1, 2]}', encoding="utf-8")
    with pytest.raises(DatasetError, match=r"d\.json is no calibration.*rotation.*label_dataset\.py calibrate"):
        load(tmp_path / "d.json")


def test_points_outside_of_the_picture_or_behind_the_camera_have_no_place():
    camera = camera_over_the_table()
    places = camera.project(np.array([[0.5, 0.0, 0.1], [0.5, 5.0, 0.1], [3.0, 0.2, 0.7]]))
    np.testing.assert_allclose(places[0], [0.5, 0.5], atol=0.01)
    assert np.isnan(places[1:]).all()


def test_what_gives_no_camera_is_refused():
    true, (points, numbers) = camera_over_the_table(), episodes()
    places = true.pixels(points)
    with pytest.raises(DatasetError, match="at least 12 places of the gripper; got 5"):
        calibrate(points[:5], places[:5], numbers[:5], HW)
    line = np.array([0.4, 0, 0.1]) + np.linspace(0, 0.3, 20)[:, None] * np.array([0.3, 0.5, 0.2])
    with pytest.raises(DatasetError, match="on a line"):
        calibrate(line, true.pixels(line), np.zeros(20), HW)
    with pytest.raises(DatasetError, match="640 x 480 px"):
        calibrate(points, places * 2, numbers, HW)
    anywhere = np.random.default_rng(0).uniform(0, HW[::-1], places.shape)
    with pytest.raises(DatasetError, match="places only"):
        calibrate(points, anywhere, numbers, HW)
