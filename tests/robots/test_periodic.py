"""Angles on a circle: adding whole turns to anything changes nothing, on every robot and in every place."""

from dataclasses import replace
import re

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.safety import SafetyFilter, check_sent, hold_action
from inspire_fast.robots.periodic import circular_mean, continued, nearest, shortest
from inspire_fast.robots.spec import VectorMap
from tests.robots.carousel import CAROUSEL

ALL = [*(ROBOTS[name] for name in ROBOTS), CAROUSEL]
# Every angle is on a circle (`Robot.periods`) or here, with the reason.
ON_A_LINE = {
    "libero": "a rotation vector's three numbers are no angles",
    "libero_front": "the same",
    "droid": "joints with stops",
    "droid_joint_position": "joints with stops",
    "franka_delta_pose": "rotation vectors",
    "widowx_bridge": "its pitch stays within a quarter turn, and its motions are small",
    "google_robot": "its state is a quaternion, and its motions are small",
    "aloha": "joints with stops: 180 and -180 degrees are a whole turn apart for its motors",
}


@pytest.mark.parametrize("robot", ALL, ids=lambda robot: robot.name)
def test_every_angle_of_every_robot_is_declared_to_be_on_a_circle_or_on_a_line(robot):
    angles = {name for name in (*robot.state_names, *robot.action_names) if re.search(r"_m?(rad|deg)$", name)}
    assert angles == set(robot.periods) or (robot.name in ON_A_LINE and set(robot.periods) < angles)


@pytest.mark.parametrize("robot", [one for one in ALL if one.periods], ids=lambda robot: robot.name)
def test_the_limits_of_what_is_on_a_circle_are_one_turn_apart(robot):
    of_states = zip(robot.state_names, robot.state_low, robot.state_high, strict=True)
    of_actions = zip(robot.action_names, robot.action_low, robot.action_high, strict=True)
    turns = [high - low for name, low, high in (*of_states, *of_actions) if name in robot.periods]
    wanted = [robot.periods[name] for name in (*robot.state_names, *robot.action_names) if name in robot.periods]
    assert turns == wanted


@st.composite
def cases(draw):
    """A robot, a native state, and two actions, each within limits; whole turns per dimension for each of them."""
    robot = draw(st.sampled_from(ALL))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def some(low, high):
        values = rng.uniform(low, high)
        return np.where(rng.random(len(low)) < 0.2, high, values)  # the limits, too

    state = some(robot.state_low, robot.state_high)
    first, second = (some(robot.action_low, robot.action_high) for _ in range(2))
    turns = {
        "state": rng.integers(-3, 4, robot.state_dim) * robot.state_periods,
        "action": rng.integers(-3, 4, robot.action_dim) * robot.action_periods,
    }
    return robot, state, first, second, turns


def same_place(robot, a, b, *, share=1e-5):
    """Whether two native actions are one, up to turns and rounding."""
    span = np.subtract(robot.action_high, robot.action_low)
    return np.abs(robot.action_turn(np.asarray(a, np.float64), np.asarray(b, np.float64))).max() <= (share * span).max()


@given(case=cases())
def test_limits_and_feedback_take_an_action_and_the_same_action_turns_away_alike(case):
    robot, _, action, _, turns = case
    assert same_place(robot, robot.limited(action), action)
    assert same_place(robot, robot.limited(action + turns["action"]), action)
    assert same_place(robot, check_sent(robot, action + turns["action"]), action)
    native = robot.native_actions(robot.canonical_actions((action + turns["action"])[None]))[0]
    assert same_place(robot, native, action)
    for sent in (robot.limited(action + turns["action"]), native):
        assert (sent <= np.float32(robot.action_high)).all()
        assert (sent >= np.float32(robot.action_low)).all()


@settings(max_examples=30)
@given(case=cases(), share=st.sampled_from([0.01, 0.1, 10.0]))
def test_the_rate_limit_goes_the_short_way_and_arrives(case, share):
    robot, _, start, goal, turns = case
    change = share * np.subtract(robot.action_high, robot.action_low)
    safety, sent, travelled = SafetyFilter(robot=robot, max_change=tuple(change)), robot.limited(start), 0.0
    for _ in range(110):
        following = safety.apply(goal + turns["action"], last_sent=sent).action
        step = robot.action_turn(sent, following)
        assert (np.abs(step) <= change * 1.001).all()
        travelled, sent = travelled + np.abs(step), following
    assert same_place(robot, sent, goal)
    np.testing.assert_allclose(travelled, np.abs(robot.action_turn(start, goal)), rtol=1e-4, atol=1e-4 * change.max())


@given(case=cases())
def test_holds_and_measured_motion_are_the_same_whatever_the_encoder_counts(case):
    robot, state, _, _, turns = case
    counted = state + turns["state"]
    assert same_place(robot, hold_action(robot, None, counted), hold_action(robot, None, state))
    assert robot.state_moved(state, counted).max() < 1e-9
    assert not robot.impossible(counted).any()


@given(case=cases())
def test_chunks_are_paths_without_jumps(case):
    robot = case[0]
    low, high = np.array(robot.action_low), np.array(robot.action_high)
    rng = np.random.default_rng(0)
    path = low + (high - low) * (0.5 + np.cumsum(rng.uniform(-0.2, 0.2, (9, robot.action_dim)), axis=0))
    turns = rng.integers(-2, 3, path.shape) * robot.action_periods
    again = continued(path + turns, path[:1], robot.action_periods)
    np.testing.assert_allclose(again, path, rtol=1e-9, atol=1e-6)


def test_by_hand():
    turn = (360.0, 0.0)
    np.testing.assert_array_equal(
        shortest(np.array([[359.0, 359], [-359, -359], [90, 90], [180, 180], [-180, -180], [-181, 0]]), turn),
        [[-1, 359], [1, -359], [90, 90], [180, 180], [-180, -180], [179, 0]],
    )
    np.testing.assert_array_equal(nearest(np.array([-170.0, 5]), np.array([175.0, 0]), turn), [190, 5])
    path = continued(np.array([[-179.0, 1], [170, 2], [-100, 3], [-5, 4], [60, 5]]), np.array([[179.0, 0]]), turn)
    np.testing.assert_array_equal(path, [[181, 1], [170, 2], [260, 3], [355, 4], [420, 5]])
    np.testing.assert_allclose(circular_mean(np.array([[179.0, 7], [-179, 9]]), turn) % 360, [180, 0], atol=1e-9)


def test_dimensions_on_a_line_stay_bit_for_bit():
    values = np.array([0.1, -0.0, 1e300, 7.0], np.float64)
    for periods in ((), np.zeros(4), (0.0, 0.0, 0.0, 2.0)):
        np.testing.assert_array_equal(nearest(values, np.zeros(4), periods)[:3], values[:3])


@pytest.mark.parametrize("periods", [{"eef_q_mdeg": 360.0}, {"eef_rx_mdeg": 0.0}, {"eef_rx_mdeg": -360.0}])
def test_wrong_periods_are_refused(periods):
    with pytest.raises(ValueError, match=r"'inspire_arm': periods are positive lengths of the dimensions .*; got"):
        replace(ROBOTS["inspire_arm"], periods=periods)


@pytest.mark.parametrize("bend", [lambda x: x**2, lambda x: x + np.maximum(x, 0) / 4])  # a turn is more at the top
def test_units_in_which_a_turn_is_no_turn_are_refused(bend):
    bent = VectorMap(to_canonical=bend, to_native=np.sqrt)
    with pytest.raises(ValueError, match=r"'carousel': turns by .* are no turns in canonical units"):
        replace(CAROUSEL, state_map=bent)


def test_the_delta_mask_carries_periods_in_canonical_units():
    assert ROBOTS["inspire_arm"].delta == (True,) * 3 + (360_000.0,) * 3 + (False,)
    assert CAROUSEL.delta == (False, pytest.approx(2 * np.pi), False)
    assert ROBOTS["droid_joint_position"].delta == (True,) * 7 + (False,)
