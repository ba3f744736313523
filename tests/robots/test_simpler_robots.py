"""WidowX and Google Robot: rotations against SciPy, senses of the grippers, sticky changes."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from inspire_fast.robots import ROBOTS, google_robot, widowx_bridge
from inspire_fast.robots.control.safety import hold_action
from inspire_fast.robots.google_robot import StickyGripper
from inspire_fast.robots.rotations import (
    euler_from_matrix,
    matrix_from_euler,
    matrix_from_quaternion,
    relative_quaternion,
    vector_from_euler,
)

WIDOWX, GOOGLE = ROBOTS["widowx_bridge"], ROBOTS["google_robot"]
angles = st.tuples(*[st.floats(-3.1, 3.1)] * 3).map(np.array)


def test_pointing_down_is_a_rotation_that_turns_forward_down():
    down = widowx_bridge.POINTING_DOWN
    np.testing.assert_array_equal(down @ down.T, np.eye(3))
    assert np.linalg.det(down) == pytest.approx(1)
    np.testing.assert_array_equal(down @ [1, 0, 0], [0, 0, -1])


@settings(max_examples=30)
@given(euler=angles)
def test_rotations_are_scipys(euler):
    theirs = Rotation.from_euler("xyz", euler)
    np.testing.assert_allclose(matrix_from_euler(euler), theirs.as_matrix(), atol=1e-12)
    vector = vector_from_euler(euler)
    np.testing.assert_allclose(Rotation.from_rotvec(vector).as_matrix(), theirs.as_matrix(), atol=1e-9)
    assert np.linalg.norm(vector) <= np.pi + 1e-12
    x, y, z, w = theirs.as_quat()
    np.testing.assert_allclose(matrix_from_quaternion(3 * np.array([w, x, y, z])), theirs.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(matrix_from_euler(euler_from_matrix(theirs.as_matrix())), theirs.as_matrix(), atol=1e-9)


def test_a_quaternion_in_the_frame_of_another():
    base, other = Rotation.from_euler("xyz", [0.1, 0.2, 0.3]), Rotation.from_euler("xyz", [-1.0, 0.5, 2.0])
    between = relative_quaternion(*(np.roll(rotation.as_quat(), 1) for rotation in (base, other)))
    np.testing.assert_allclose(matrix_from_quaternion(between), (base.inv() * other).as_matrix(), atol=1e-12)


@pytest.mark.parametrize("pitch", [-np.pi / 2, np.pi / 2])
def test_a_pitch_of_a_right_angle_leaves_the_yaw_at_zero(pitch):
    matrix = matrix_from_euler(np.array([0.4, pitch, -0.3]))
    euler = euler_from_matrix(matrix)
    assert euler[2] == 0
    np.testing.assert_allclose(matrix_from_euler(euler), matrix, atol=1e-9)


def test_no_rotation_is_a_vector_of_zeros_and_no_quaternion_is_an_error():
    np.testing.assert_array_equal(vector_from_euler(np.zeros(3)), np.zeros(3))
    with pytest.raises(ValueError, match=r"quaternion w x y z, \[4\].*got \[0. 0. 0. 0.\]"):
        matrix_from_quaternion(np.zeros(4))
    with pytest.raises(ValueError, match="quaternion w x y z"):
        matrix_from_quaternion(np.zeros(3))


def test_the_widowx_that_points_down_has_no_rotation():
    x, y, z, w = Rotation.from_matrix(widowx_bridge.POINTING_DOWN).as_quat()
    state = widowx_bridge.state_of_pose(np.array([0.3, 0.0, 0.1]), np.array([w, x, y, z]), 1.0)
    np.testing.assert_allclose(state, [0.3, 0, 0.1, 0, 0, 0, 0, 1], atol=1e-6)
    # The end effector's first axis, which is the fingers', points down the base's z.
    np.testing.assert_array_equal(widowx_bridge.POINTING_DOWN[:, 0], [0, 0, -1])


def test_the_widowx_turned_about_the_vertical_has_a_yaw():
    turned = Rotation.from_euler("z", 0.3) * Rotation.from_matrix(widowx_bridge.POINTING_DOWN)
    state = widowx_bridge.state_of_pose(np.zeros(3), np.roll(turned.as_quat(), 1), 0.2)
    np.testing.assert_allclose(state[3:], [0, 0, 0.3, 0, 0.2], atol=1e-6)


def test_the_google_robots_state_has_x_y_z_w_and_counts_how_far_the_gripper_is_closed():
    state = google_robot.state_of_pose(np.array([0.5, 0.1, 0.9]), np.array([0.1, 0.2, 0.3, 0.4]), 0.75)
    np.testing.assert_allclose(state, [0.5, 0.1, 0.9, 0.2, 0.3, 0.4, 0.1, 0.25])


@pytest.mark.parametrize(("opening", "command"), [(0.0, -1.0), (0.5, -1.0), (0.51, 1.0), (1.0, 1.0)])
def test_the_widowxs_gripper_is_opened_or_closed_at_a_half(opening, command):
    action = np.array([0.01, -0.02, 0.03, 0.1, -0.2, 0.3, opening])
    sent = widowx_bridge.controller_action(action)
    np.testing.assert_allclose(sent[:3], action[:3])
    np.testing.assert_allclose(sent[3:6], Rotation.from_euler("xyz", action[3:6]).as_rotvec(), atol=1e-12)
    assert sent[6] == command


@pytest.mark.parametrize("opening", [0.0, 1.0])
def test_a_hold_before_the_first_action_keeps_the_gripper_as_measured(opening):
    for robot, module in ((WIDOWX, widowx_bridge), (GOOGLE, google_robot)):
        state = module.state_of_pose(np.zeros(3), np.array([1.0, 0, 0, 0]), opening)
        hold = hold_action(robot, None, state)
        np.testing.assert_array_equal(hold, [0, 0, 0, 0, 0, 0, opening])
        np.testing.assert_allclose(robot.gripper.openings(state[None]), [opening])


def test_a_sticky_gripper_repeats_a_change_as_drawn():
    gripper = StickyGripper(3)
    wanted = [1, 1, 0, 0, 0, 0, 1, 1, 1, 1]
    assert [gripper.next(float(x)) for x in wanted] == [0, 0, 1, 1, 1, 0, -1, -1, -1, 0]


def test_a_sticky_gripper_ignores_what_is_wanted_meanwhile_and_adds_up_slow_changes():
    gripper = StickyGripper(2)
    assert [gripper.next(x) for x in (1.0, 0.0, 1.0)] == [0, 1, 1]
    assert gripper.next(1.0) == -1.0  # what was wanted meanwhile is decided afterwards
    slow = StickyGripper(2)
    np.testing.assert_allclose([slow.next(x) for x in (1.0, 0.7, 0.45, 0.45, 0.45)], [0, 0.3, 0.55, 0.55, 0])
    with pytest.raises(ValueError, match="at least 1 step; got 0"):
        StickyGripper(0)


def test_the_google_robots_action_has_the_change_of_the_gripper():
    action = np.array([0.1, 0.2, 0.3, 0.0, 0.0, 0.5, 1.0])
    np.testing.assert_allclose(google_robot.controller_action(action, -1.0), [0.1, 0.2, 0.3, 0, 0, 0.5, -1])
