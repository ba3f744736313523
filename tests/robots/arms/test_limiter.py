import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.robots.arms.limiter import JerkLimiter
from inspire_fast.robots.arms.limits import Box, MotionLimits

DT_S = 0.01


def limits(velocity=1.0, acceleration=5.0, jerk=100.0, joints=2):
    def every(value):
        return np.full(joints, value)

    names = tuple(f"joint{index + 1}" for index in range(joints))
    return MotionLimits(
        names=names,
        low=every(-1.0),
        high=every(1.0),
        velocity=every(velocity),
        acceleration=every(acceleration),
        jerk=every(jerk),
    )


def run(limiter, targets):
    states = [(limiter.position, limiter.velocity, limiter.acceleration)]
    for target in targets:
        limiter.advance(np.asarray(target))
        states.append((limiter.position, limiter.velocity, limiter.acceleration))
    return [np.array(values) for values in zip(*states, strict=True)]


targets = st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.integers(3, 40)), min_size=1, max_size=5).map(
    lambda parts: [(a, b) for a, b, times in parts for _ in range(times)]
)


@settings(deadline=None, max_examples=8)
@given(targets, st.floats(0.1, 3.0), st.floats(0.5, 20.0), st.floats(5.0, 5000.0))
def test_no_target_brings_a_joint_beyond_a_limit(wanted, velocity, acceleration, jerk):
    bounds = limits(velocity, acceleration, jerk)
    position, speed, push = run(JerkLimiter(bounds, np.zeros(2), dt_s=DT_S), wanted)
    assert np.abs(position).max() <= 1 + 1e-6
    assert np.abs(speed).max() <= velocity * (1 + 1e-6)
    assert np.abs(push).max() <= acceleration * (1 + 1e-9)
    assert np.abs(np.diff(push, axis=0)).max() <= jerk * DT_S * (1 + 1e-9)
    # The positions that are sent agree with that.
    assert np.abs(np.diff(position, axis=0)).max() <= velocity * DT_S * (1 + 1e-6)
    assert np.abs(np.diff(position, 2, axis=0)).max() <= acceleration * DT_S**2 * (1 + 1e-6) + 1e-12


@settings(deadline=None, max_examples=3)
@given(targets, st.floats(-0.9, 0.9))
def test_whatever_came_before_it_arrives_and_rests(wanted, last):
    limiter = JerkLimiter(limits(), np.zeros(2), dt_s=DT_S)
    position, speed, _ = run(limiter, [*wanted, *[(last, -last)] * 350])
    assert position[-1] == pytest.approx([last, -last], abs=1e-4)
    assert np.abs(speed[-1]).max() < 1e-4


def test_a_stop_ends_where_it_was_foretold():
    limiter = JerkLimiter(limits(), np.zeros(2), dt_s=DT_S)
    run(limiter, [(0.9, -0.9)] * 40)
    foretold = limiter.stop_position
    position, _, _ = run(limiter, [foretold] * 100)
    assert np.abs(position[-1] - foretold).max() < 1e-4
    assert np.abs(position).max() <= np.abs(foretold).max() + 1e-4


def test_the_way_to_a_far_target_takes_about_the_shortest_time():
    limiter = JerkLimiter(limits(velocity=0.5, acceleration=5.0, jerk=500.0), np.full(2, -1.0), dt_s=DT_S)
    position, _, _ = run(limiter, [(0.9, 0.9)] * 600)
    arrived_s = DT_S * int(np.argmax(position[:, 0] > 0.899))
    assert arrived_s == pytest.approx(1.9 / 0.5 + 0.5 / 5.0, abs=0.05)


def test_a_start_beyond_the_limits_is_refused():
    with pytest.raises(ValueError, match=r"joint1 1\.2 \(-1 \.\. 1\)"):
        JerkLimiter(limits(), np.array([1.2, 0.0]), dt_s=DT_S)
    with pytest.raises(ValueError, match="dt_s must be > 0"):
        JerkLimiter(limits(), np.zeros(2), dt_s=0.0)


def test_a_joint_turns_back_where_the_motion_says():
    """Against the motion itself, in small steps: it brakes, comes back, and stops braking."""
    jerk, velocity, acceleration = 100.0, np.array([-0.05, 0.05, 0.5]), np.array([4.0, -4.0, 4.0])
    limiter = JerkLimiter(limits(joints=3), np.zeros(3), dt_s=DT_S)
    x, v, a = np.zeros(3), velocity.copy(), acceleration.copy()
    furthest = np.zeros(3)
    for _ in range(40_000):
        x, v, a = x + v * 1e-6, v + a * 1e-6, a - np.sign(acceleration) * jerk * 1e-6
        furthest = np.where(np.abs(x) > np.abs(furthest), x, furthest)
    found = limiter._turn(np.zeros(3), velocity, acceleration)
    np.testing.assert_allclose(found[:2], furthest[:2], rtol=1e-3)
    assert found[2] == 0  # it speeds up, and does not turn


def test_a_jerk_that_reaches_the_acceleration_within_a_step_is_halved():
    """Else a joint would tremble around its target."""
    limiter = JerkLimiter(limits(acceleration=20.0, jerk=5000.0), np.zeros(2), dt_s=DT_S)
    limiter.advance(np.ones(2))
    np.testing.assert_allclose(limiter.acceleration, 10.0, rtol=1e-3)


def test_limits_are_narrowed_and_never_widened():
    own = dataclasses.replace(limits(), box=Box(low=(0, 0, 0), high=(1, 1, 1)))
    narrow = own.narrowed(low=(-0.5, -0.5), fraction=0.5, box=Box(low=(0.1, 0.1, 0.1), high=(0.9, 0.9, 0.9)))
    assert narrow.low.tolist() == [-0.5, -0.5]
    assert narrow.velocity.tolist() == [0.5, 0.5]
    assert own.narrowed().box == own.box
    for wider, words in (
        ({"high": (0.5, 1.5)}, r"joint2 1\.5 \(-1 \.\. 1\)"),
        ({"fraction": 1.1}, "0 .. 1; got 1.1"),
        ({"fraction": 0.0}, "0 .. 1; got 0.0"),
        ({"box": Box(low=(-1, 0, 0), high=(1, 1, 1))}, "can only be narrowed"),
        ({"low": (0.0,)}, "Positions need 2 numbers"),
        ({"high": (0.5, 0.5, 0.5)}, "Positions need 2 numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            own.narrowed(**wider)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"velocity": [1.0]}, "velocity needs 2 finite numbers"),
        ({"jerk": [np.inf, 1.0]}, "jerk needs 2 finite numbers"),
        ({"acceleration": [0.0, 1.0]}, "> 0"),
        ({"low": [1.0, 1.0]}, "low < high"),
    ],
)
def test_limits_that_cannot_be(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(limits(), **change)


def test_degrees_are_told_from_radians():
    with pytest.raises(ValueError, match=r"joint2 57 \(-1 \.\. 1\)\. Are these degrees\? The unit is radians"):
        limits().require_inside(np.array([0.5, 57.0]), "The start pose")
    with pytest.raises(ValueError, match="finite"):
        limits().require_inside(np.array([0.5, np.nan]), "The start pose")
