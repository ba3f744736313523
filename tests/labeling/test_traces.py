"""The gripper's coming path, evenly spaced up to the next event."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
import numpy as np
import pytest

from inspire_fast.core.types import SceneFacts
from inspire_fast.labeling.traces import coming_paths, gripper_events, resampled, with_traces
from inspire_fast.robots.libero import LIBERO
from tests.labeling.datasets import libero_states

LINE = np.stack([np.full(8, 0.5), np.linspace(0.0, 0.7, 8)], axis=1)


def test_paths_end_at_events():
    """The drawing in the module's docstring."""
    paths = coming_paths(LINE, (4, 7), points=4)
    np.testing.assert_allclose(paths[0], LINE[1:5], atol=1e-6)
    np.testing.assert_allclose(paths[3], [[0.5, x] for x in (0.325, 0.35, 0.375, 0.4)], atol=1e-6)
    np.testing.assert_allclose(paths[4][[0, -1]], [[0.5, 0.475], [0.5, 0.7]], atol=1e-6)
    assert paths[7] is None
    assert all(path.dtype == np.float32 for path in paths[:7])


def test_points_are_spaced_by_length_and_not_by_time():
    """Slow at first, then fast; a pause adds nothing. In a picture twice as wide as high, a step aside is longer."""
    path = np.array([[0.0, 0.0], [0.1, 0.0], [0.1, 0.0], [0.1, 0.3]])
    np.testing.assert_allclose(resampled(path, 4), [[0.1, 0], [0.1, 0.1], [0.1, 0.2], [0.1, 0.3]], atol=1e-6)
    wide = resampled(path, 7, aspect=2.0)
    np.testing.assert_allclose(wide[:2], [[0.1, 0], [0.1, 0.05]], atol=1e-6)


def test_a_path_that_leaves_the_picture_is_none_and_a_hand_at_rest_stays():
    gap = LINE.copy()
    gap[5] = np.nan
    assert [frame for frame, path in enumerate(coming_paths(gap, (4,))) if path is None] == [4, 5, 7]
    np.testing.assert_array_equal(resampled(np.array([[0.25, 0.5]] * 3), 2), [[0.25, 0.5]] * 2)
    with pytest.raises(ValueError, match="at least 1 point"):
        resampled(LINE, 0)


@settings(settings.get_profile("few"))
@given(arrays(np.float64, st.tuples(st.integers(1, 12), st.just(2)), elements=st.floats(0, 1)), st.integers(1, 9))
def test_a_trace_stays_on_its_path_and_ends_where_it_does(path: np.ndarray, points: int):
    found = resampled(path, points)
    assert found.shape == (points, 2)
    np.testing.assert_allclose(found[-1], path[-1], atol=1e-6)
    assert (found >= path.min(axis=0) - 1e-6).all()
    assert (found <= path.max(axis=0) + 1e-6).all()
    steps = np.linalg.norm(np.diff(np.concatenate([path[:1], found]), axis=0), axis=1)
    length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    assert (steps <= length / points + 1e-5).all()  # chords are shorter than their part of the path


def test_events_are_where_the_fingers_rest_and_let_go():
    states = libero_states()
    assert gripper_events(LIBERO.gripper.openings(states), 20, LIBERO.gripper) == (20, 40)
    idle = libero_states(grasp=False)
    assert gripper_events(LIBERO.gripper.openings(idle), 20, LIBERO.gripper) == ()


def test_facts_get_traces_and_gaps_stay_gaps():
    scenes = [SceneFacts(targets=(), gripper_px=(float(y), float(x)), camera="base_0_rgb") for y, x in LINE]
    traced = with_traces([*scenes[:6], None, scenes[7]], (3,), points=3)
    np.testing.assert_allclose(traced[0].trace_px, LINE[1:4], atol=1e-6)
    assert (traced[3].trace_px, traced[6]) == (None, None)  # the path from frame 3 on leads over the gap
    assert traced[0].camera == "base_0_rgb"
