from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.labeling.grasp_events import Grasp, find_grasps
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.gripper import GripperSignal

SIGNAL = GripperSignal(position=(0, 1, 2), opening={3: 1.0})
FPS = 20.0


def ramp(*pieces: tuple[int, float], start: float = 1.0) -> np.ndarray:
    """Frames at a level each, with three frames of motion towards it."""
    values, level = [], start
    for frames, target in pieces:
        values += list(np.linspace(level, target, 4)[1:]) + [target] * (frames - 3)
        level = target
    return np.array(values)


def test_a_grasp_lasts_from_the_fingers_resting_to_their_opening():
    openings = np.concatenate([np.ones(20), ramp((20, 0.4)), ramp((10, 1.0), start=0.4)])
    (grasp,) = find_grasps(openings, FPS, SIGNAL).grasps
    assert grasp == Grasp(start=22, stop=40, level=pytest.approx(0.4), empty=False)


def test_noise_at_the_threshold_is_no_grasp():
    rng = np.random.default_rng(0)
    assert find_grasps(1.0 + rng.normal(0, 0.02, 200), FPS, SIGNAL).grasps == ()
    chatter = np.ones(100)
    chatter[30:32] = 0.6  # 0.1 s
    reading = find_grasps(chatter, FPS, SIGNAL)
    assert reading.grasps == ()
    assert "noise" in reading.notes[0]
    held = np.concatenate([np.ones(20), np.full(40, 0.5), np.ones(20)])
    held[40:42] = 0.95  # the fingers slip for 0.1 s
    (grasp,) = find_grasps(held + rng.normal(0, 0.01, 80), FPS, SIGNAL).grasps
    assert (grasp.start, grasp.stop) == (20, 60)


def test_a_value_between_the_thresholds_neither_closes_nor_opens():
    openings = np.concatenate([np.ones(20), np.full(20, 0.77), np.full(20, 0.5), np.full(20, 0.77)])
    (grasp,) = find_grasps(openings, FPS, SIGNAL).grasps
    assert (grasp.start, grasp.stop) == (40, 60)


def test_never_released_and_closed_on_nothing():
    open_end = find_grasps(np.concatenate([np.ones(20), np.full(30, 0.5)]), FPS, SIGNAL).grasps[0]
    assert (open_end.start, open_end.stop, open_end.empty) == (20, None, False)
    nothing = find_grasps(np.concatenate([np.ones(20), ramp((30, 0.01)), np.ones(5)]), FPS, SIGNAL).grasps[0]
    assert nothing.empty


def test_a_gripper_that_starts_closed_is_measured_by_its_widest():
    reading = find_grasps(np.concatenate([np.full(20, 0.3), np.ones(30), np.full(30, 0.3)]), FPS, SIGNAL)
    assert [(grasp.start, grasp.stop) for grasp in reading.grasps] == [(0, 20), (50, None)]
    assert "starts closed" in reading.notes[0]
    with pytest.raises(ValueError, match="never positive"):
        find_grasps(np.zeros(20), FPS, SIGNAL)


def test_a_preshaped_gripper_grasps_when_it_reaches_the_thing():
    openings = np.concatenate([np.ones(20), np.full(10, 0.7), np.full(40, 0.3), np.ones(10)])
    (grasp,) = find_grasps(openings, FPS, SIGNAL).grasps
    assert (grasp.start, grasp.stop) == (30, 70)


def test_signals_of_the_robots():
    libero = np.zeros((1, 8))
    libero[0, [0, 1, 2, 6, 7]] = [0.1, 0.2, 0.3, 0.04, -0.04]
    np.testing.assert_allclose(ROBOTS["libero"].gripper.positions_m(libero), [[0.1, 0.2, 0.3]])
    np.testing.assert_allclose(ROBOTS["libero"].gripper.openings(libero), [0.08])
    arm = np.array([[-2843.0, -52329.0, 336502.0, 0, 0, 0, 69300.0]])
    np.testing.assert_allclose(ROBOTS["inspire_arm"].gripper.positions_m(arm), [[-0.002843, -0.052329, 0.336502]])
    closed = GripperSignal(position=(0, 1, 2), opening={7: -1.0}, opening_at_zero=1.0)
    np.testing.assert_allclose(closed.openings(np.eye(8)[[7, 0]]), [0.0, 1.0])
    with pytest.raises(ValueError, match="closed_below <= open_above"):
        GripperSignal(position=(0, 1, 2), opening={3: 1.0}, closed_below=0.9, open_above=0.8)
    with pytest.raises(ValueError, match="three position"):
        GripperSignal(position=(0, 0, 2), opening={3: 1.0})


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(8, 30), st.floats(0.1, 0.65)), min_size=1, max_size=5),
    st.floats(1e-3, 1e3),
    st.integers(0, 1000),
)
def test_grasps_are_found_in_any_unit_and_under_noise(pieces: list[tuple[int, float]], unit: float, seed: int):
    """Every grasp of at least 0.4 s with at least 0.5 s between is found, to within a frame or two."""
    parts, expected, at = [], [], 15
    parts.append(np.ones(15))
    for frames, level in pieces:
        parts += [np.full(frames, level), np.ones(10)]
        expected.append((at, at + frames))
        at += frames + 10
    openings = np.concatenate(parts) * unit
    noisy = openings * (1 + np.random.default_rng(seed).uniform(-0.01, 0.01, len(openings)))
    grasps = find_grasps(noisy, FPS, SIGNAL).grasps
    assert [(grasp.start, grasp.stop) for grasp in grasps] == expected
