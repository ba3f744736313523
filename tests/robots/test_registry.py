"""One test over every robot: what it declares holds together."""

import numpy as np
import pytest

from inspire_fast.robots import ROBOTS
from inspire_fast.robots.safety import hold_action


@pytest.fixture(params=ROBOTS)
def robot(request):
    return ROBOTS[request.param]


def test_is_registered_under_its_own_name(robot):
    assert ROBOTS[robot.name] is robot


def test_native_and_canonical_round_trip(robot):
    native = robot.fake_native(seed=3)
    before = {key: np.copy(value) for key, value in native.items()}
    canonical = robot.canonical(native)
    back = robot.native_observation(canonical)
    assert back.keys() == native.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(back[key], value)
        np.testing.assert_array_equal(native[key], value)


def test_shapes_are_as_declared(robot):
    canonical = robot.canonical(robot.fake_native(image_hw=(48, 64)))
    assert canonical.state.shape == (robot.state_dim,)
    assert canonical.state.dtype == np.float32
    assert set(canonical.images) == set(robot.cameras.values())
    assert all(image.shape == (48, 64, 3) for image in canonical.images.values())
    assert len(robot.action_names) == robot.action_dim
    assert all(0 <= dim < robot.action_dim for dim in robot.gripper_dims)
    assert robot.control_hz > 0


def test_holding_is_within_limits(robot):
    hold = hold_action(robot, None)
    np.testing.assert_array_equal(robot.native_actions(hold[None])[0], hold)
    assert np.all(np.array(robot.action_low) < np.array(robot.action_high))


def test_actions_are_clipped_in_a_copy(robot):
    actions = np.full((4, robot.action_dim), 1e6, dtype=np.float32)
    np.testing.assert_array_equal(robot.native_actions(actions)[0], np.array(robot.action_high, np.float32))
    assert (actions == 1e6).all()


@pytest.mark.parametrize("spoil", ["missing", "shape", "prompt", "nan"])
def test_a_bad_observation_names_the_robot_or_the_reason(robot, spoil):
    native = robot.fake_native()
    if spoil == "missing":
        del native[robot.state_key]
    elif spoil == "shape":
        native[robot.state_key] = np.zeros(robot.state_dim + 1, np.float32)
    elif spoil == "prompt":
        native["prompt"] = b"bytes"
    else:
        native[robot.state_key] = np.full(robot.state_dim, np.nan, np.float32)
    with pytest.raises(ValueError, match="NaN" if spoil == "nan" else robot.name):
        robot.canonical(native)
