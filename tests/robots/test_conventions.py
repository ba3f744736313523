"""Conventions of single robots, with numbers computed by hand or from the mechanism's geometry."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.core.nested import flatten_dict
from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.aloha import finger_distance, motor_angle
from inspire_fast.robots.control.runtime import LoopConfig, run_episode
from inspire_fast.robots.control.safety import SafetyFilter, hold_action

ALOHA, DROID, ARM, LIBERO = (ROBOTS[name] for name in ("aloha", "droid", "inspire_arm", "libero"))
GRIPPERS = [6, 13]


def test_aloha_joints_turn_the_other_way_at_shoulder_and_elbow():
    state = np.arange(1, 15, dtype=np.float32) / 20
    canonical = ALOHA.state_map.to_canonical(state)
    joints = [n for n in range(14) if n not in GRIPPERS]
    signs = np.array([1, -1, -1, 1, 1, 1, 1] * 2)
    np.testing.assert_allclose(canonical[joints], (signs * state)[joints])
    np.testing.assert_allclose(ALOHA.action_map.to_canonical(state)[joints], (signs * state)[joints])
    assert sum(ALOHA.delta) == 12
    assert not any(ALOHA.delta[n] for n in GRIPPERS)


def test_the_fingers_of_aloha_are_a_slider_crank():
    # Horn and rod in one line: fully open, 22 + 36 mm. Horn at a right angle to the slide: sqrt(36^2 - 22^2) mm.
    np.testing.assert_allclose(finger_distance(np.array([np.pi / 2, 0.0])), [0.058, np.sqrt(0.036**2 - 0.022**2)])
    np.testing.assert_allclose(motor_angle(np.array([0.058])), [np.pi / 2])


@given(opening=st.floats(0, 1))
def test_motor_angle_and_finger_distance_are_inverse(opening):
    distance = np.array([0.01844 + opening * (0.05800 - 0.01844)])
    np.testing.assert_allclose(finger_distance(motor_angle(distance)), distance, atol=1e-9)


# The makers' data sheets state them in degrees: Franka's Panda, Interbotix' ViperX 300 6DOF.
PANDA_DEGREES = [(-166, 166), (-101, 101), (-166, 166), (-176, -4), (-166, 166), (-1, 215), (-166, 166)]
VIPERX_DEGREES = [(-180, 180), (-106, 72), (-101, 92), (-180, 180), (-107, 128), (-180, 180)]


@pytest.mark.parametrize(
    ("robot", "joints", "degrees"),
    [
        (ALOHA, [*range(6), *range(7, 13)], VIPERX_DEGREES * 2),
        (DROID, range(7), PANDA_DEGREES),
        (ROBOTS["droid_joint_position"], range(7), PANDA_DEGREES),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_joint_limits_are_those_of_the_data_sheets(robot, joints, degrees):
    limits = np.rad2deg([robot.state_low, robot.state_high]).T[list(joints)]
    np.testing.assert_allclose(limits, degrees, atol=0.02)
    if robot is not DROID:  # whose actions are velocities
        assert (robot.action_low, robot.action_high) == (robot.state_low, robot.state_high)


def test_grippers_span_their_range_and_rates_are_the_documented_ones():
    for robot, dims in ((ALOHA, GRIPPERS), (DROID, [7])):
        assert {(robot.state_low[dim], robot.state_high[dim]) for dim in dims} == {(0.0, 1.0)}
        assert {(robot.action_low[dim], robot.action_high[dim]) for dim in dims} == {(0.0, 1.0)}
        assert list(robot.gripper_dims) == dims
    assert set(zip(DROID.action_low[:7], DROID.action_high[:7], strict=True)) == {(-1.0, 1.0)}
    rates = {"aloha": 50, "droid": 15, "droid_joint_position": 15, "inspire_arm": 10, "libero": 20, "libero_front": 20}
    rates |= {"widowx_bridge": 5, "google_robot": 3, "franka_delta_pose": 15}
    assert {name: ROBOTS[name].control_hz for name in ROBOTS} == rates
    assert (ARM.state_high[0] * 1e-6, ARM.state_high[3] * 1e-3) == (1.0, 180.0)  # 0.001 mm and 0.001 degree


def test_aloha_grippers_in_state_and_action():
    closed_and_open = np.zeros((2, 14), np.float32)
    closed_and_open[1, GRIPPERS] = 1.0
    # Motor at -0.6213 and pi/2 rad; pi0 scales 0.5476 .. 1.6296 rad to 0 .. 1.
    state = ALOHA.state_map.to_canonical(closed_and_open)[:, 6]
    expected = (np.array([motor_angle(np.array(0.01844)), np.pi / 2]) - 0.5476) / (1.6296 - 0.5476)
    np.testing.assert_allclose(state, expected, atol=1e-6)
    assert abs(float(motor_angle(np.array(0.01844))) + 0.6213) < 2e-3  # ALOHA's own constants agree with the mechanism
    action = ALOHA.action_map.to_canonical(closed_and_open)[:, 13]
    np.testing.assert_allclose(action, [-0.6213 - 0.5476, 1.4910 - 0.5476], atol=1e-6)


def test_a_reading_past_the_ends_of_the_gripper_counts_as_the_end():
    beyond = np.zeros((3, 14), np.float32)
    beyond[:, 6] = [1.02, 1.5, -3.0]
    grippers = ALOHA.state_map.to_canonical(beyond)[:, 6]
    assert np.isfinite(grippers).all()
    np.testing.assert_allclose(grippers[:2], grippers[1])
    assert grippers[2] < grippers[1]


def test_aloha_speaks_nested_dictionaries_channels_first():
    native = ALOHA.fake_native(image_hw=(4, 6))
    assert native["images"].keys() == {"cam_high", "cam_left_wrist", "cam_right_wrist"}
    assert native["images"]["cam_high"].shape == (3, 4, 6)
    seen = ALOHA.canonical({**native, "images": {**native["images"], "cam_low": native["images"]["cam_high"]}})
    assert set(seen.images) == {"base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb"}


def test_a_wrist_camera_may_be_absent_but_not_misspelt():
    native = ALOHA.fake_native(image_hw=(4, 6))
    del native["images"]["cam_left_wrist"]
    assert set(ALOHA.canonical(native).images) == {"base_0_rgb", "right_wrist_0_rgb"}
    assert flatten_dict(ALOHA.native_observation(ALOHA.canonical(native))).keys() == flatten_dict(native).keys()
    native["images"]["cam_left_wirst"] = native["images"]["cam_high"]
    with pytest.raises(ValueError, match=r"no 'images/cam_left_wirst'\. Did you mean 'images/cam_left_wrist'"):
        ALOHA.canonical(native)


def test_droid_takes_its_state_in_two_parts_and_the_gripper_also_as_a_number():
    native = DROID.fake_native()
    native["observation/gripper_position"] = 0.25
    state = DROID.canonical(native).state
    np.testing.assert_array_equal(state, [*native["observation/joint_position"], np.float32(0.25)])
    assert DROID.state_key is None
    assert LIBERO.state_key == "observation/state"


def test_the_arm_trains_deltas_on_its_pose_alone():
    assert ARM.delta == (True,) * 3 + (360_000.0,) * 3 + (False,)  # angles: the short way round a turn
    assert ARM.axes.word(1, positive=True) == "back"


class Still:
    """An environment of position targets that never moves by itself."""

    prompt, success = "stay", False

    def __init__(self, native):
        self.native, self.received = native, []

    def reset(self, episode):
        pass

    def observe(self):
        return self.native

    def step(self, action):
        self.received.append(action)
        return action

    def facts(self):
        return None

    def close(self):
        pass


def test_droid_holds_what_it_has_gripped_before_anything_was_sent():
    native = {**DROID.fake_native(image_hw=(4, 6)), "observation/gripper_position": 0.75}
    environment = Still(native)

    def infer(observation):
        return ActionChunk(actions=None, status=Status.HELD, reason="thinking")

    run_episode(environment, infer, LoopConfig(execute=1, max_steps=2), safety=SafetyFilter(robot=DROID))
    np.testing.assert_array_equal(environment.received, [[0.0] * 7 + [0.75]] * 3)  # one before the first step
    with pytest.raises(ValueError, match="'droid' holds what is measured"):
        hold_action(DROID, None)


@pytest.mark.parametrize("robot", [ALOHA, ARM], ids=lambda r: r.name)
def test_position_targets_hold_where_the_robot_is_then_where_it_was_sent(robot):
    environment = Still(robot.fake_native(seed=2, image_hw=(4, 6)))
    state = robot.native_state(environment.native)
    where = hold_action(robot, None, state)

    def infer(observation):
        if len(environment.received) < 2:
            return ActionChunk(actions=None, status=Status.HELD, reason="thinking")
        return ActionChunk(actions=np.full((1, robot.action_dim), 0.5, np.float32))

    run_episode(environment, infer, LoopConfig(execute=1, max_steps=3), safety=SafetyFilter(robot=robot))
    np.testing.assert_array_equal(environment.received[0], where)
    np.testing.assert_array_equal(environment.received[1], where)
    assert (environment.received[2] == 0.5).all()
    joints = [n for n in range(robot.action_dim) if n not in robot.gripper_dims]
    np.testing.assert_allclose(where[joints], state[joints])


def test_a_hold_without_any_position_is_an_error():
    with pytest.raises(ValueError, match=r"'aloha' holds what is measured.*needs its measured state"):
        SafetyFilter(robot=ALOHA).apply(None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state_keys": {"observation/state": 7}}, "do not make 8 state dimensions"),
        ({"action_low": (0.0,) * 3}, "action_low needs 7 values; got 3"),
        ({"hold_action": None}, "hold_action, hold_at, or both"),
        ({"optional_cameras": ("observation/top",)}, r"optional cameras \['observation/top'\]"),
        ({"delta": (True,) * 9}, "delta has more dimensions"),
    ],
)
def test_a_spec_that_does_not_hold_together_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(LIBERO, **change)
