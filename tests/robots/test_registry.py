"""One test over every robot: what it declares holds together."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
import pytest

from inspire_fast.core.nested import flatten_dict
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.safety import hold_action
from inspire_fast.robots.native import beyond

NAMES = list(ROBOTS)


@pytest.fixture(params=NAMES)
def robot(request):
    return ROBOTS[request.param]


def read_only(native):
    """The observation with arrays that cannot be written."""
    flat = flatten_dict(native)
    for value in flat.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return native


def between(low, high):
    """Vectors within limits, the limits included."""
    share = hnp.arrays(np.float64, len(low), elements=st.floats(0, 1))
    return share.map(lambda x: (np.array(low) + x * (np.array(high) - np.array(low))).astype(np.float32))


@given(data=st.data(), name=st.sampled_from(NAMES))
def test_native_and_canonical_round_trip(data, name):
    robot = ROBOTS[name]
    native = robot.fake_native(seed=data.draw(st.integers(0, 9)), image_hw=(6, 8))
    state = data.draw(between(robot.state_low, robot.state_high))
    ends = np.cumsum(list(robot.state_keys.values()))[:-1]
    native = read_only({**native, **dict(zip(robot.state_keys, np.split(state, ends), strict=True))})
    back = robot.native_observation(robot.canonical(native))
    assert back.keys() == native.keys()
    flat_back, flat = flatten_dict(back), flatten_dict(native)
    assert flat_back.keys() == flat.keys()
    for key, value in flat.items():
        if key in robot.state_keys:
            assert flat_back[key].dtype == np.float32
            np.testing.assert_allclose(flat_back[key], value, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(flat_back[key], value)


@given(data=st.data(), name=st.sampled_from(NAMES))
def test_actions_round_trip(data, name):
    robot = ROBOTS[name]
    native = data.draw(between(robot.action_low, robot.action_high))[None]
    native.flags.writeable = False
    back = robot.native_actions(robot.canonical_actions(native))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, native, rtol=1e-6, atol=1e-6)


def test_is_registered_under_its_own_name(robot):
    assert ROBOTS[robot.name] is robot


def test_shapes_are_as_declared(robot):
    canonical = robot.canonical(robot.fake_native(image_hw=(48, 64)))
    assert canonical.state.shape == (robot.state_dim,)
    assert canonical.state.dtype == np.float32
    assert set(canonical.images) == set(robot.cameras.values())
    assert all(image.shape == (48, 64, 3) for image in canonical.images.values())
    assert len(robot.action_names) == robot.action_dim
    assert all(0 <= dim < robot.action_dim for dim in robot.gripper_dims)
    assert robot.control_hz > 0
    assert len(set(robot.state_names)) == robot.state_dim
    assert len(set(robot.action_names)) == robot.action_dim


def test_holding_is_within_limits_and_keeps_the_gripper(robot):
    state = robot.native_state(robot.fake_native(seed=1))
    hold = hold_action(robot, None, state)
    assert hold.dtype == np.float32
    np.testing.assert_array_equal(np.clip(hold, robot.action_low, robot.action_high).astype(np.float32), hold)
    sent = np.array(robot.action_high, np.float32)
    dims = list(robot.gripper_dims)
    np.testing.assert_array_equal(hold_action(robot, sent)[dims], sent[dims])
    assert np.all(np.array(robot.action_low) < np.array(robot.action_high))


def test_actions_are_clipped_in_a_copy(robot):
    actions = np.full((4, robot.action_dim), 1e9, dtype=np.float32)
    native = robot.native_actions(actions)
    assert (native <= np.array(robot.action_high, np.float32)).all()
    assert (native >= np.array(robot.action_low, np.float32)).all()
    assert (actions == 1e9).all()
    with pytest.raises(ValueError, match=f"{robot.name}.*NaN"):
        robot.native_actions(np.full((1, robot.action_dim), np.nan))
    with pytest.raises(ValueError, match=rf"\[t, {robot.action_dim}\]; got \(2, 3\)"):
        robot.native_actions(np.zeros((2, 3)))


@pytest.mark.parametrize(
    "spoil", ["missing", "shape", "prompt", "nan", "text", "large", "camera", "image", "empty", "range"]
)
def test_a_bad_observation_names_the_robot_and_the_reason(robot, spoil):
    native = flatten_dict(robot.fake_native())
    key, dim = next(iter(robot.state_keys.items()))
    camera = next(iter(robot.cameras))
    wrong, words = {
        "missing": ({key: None}, rf"lacks \['{key}'\]; it has .*Expected images"),
        "shape": ({key: np.zeros(dim + 1, np.float32)}, rf"'{key}' must have shape \({dim},\).*got \({dim + 1},\)"),
        "prompt": ({"prompt": b"bytes"}, "'prompt' must be text; got bytes"),
        "nan": ({key: np.full(dim, np.nan, np.float32)}, f"NaN or infinity in {robot.state_names[0]}.*sensors"),
        "text": ({key: ["1"] * dim}, rf"'{key}' must hold numbers; got list <U1 of shape"),
        "large": ({key: np.full(dim, 1e300)}, f"'{key}' holds NaN or infinity in {robot.state_names[0]}"),
        "camera": ({camera: None}, rf"lacks \['{camera}'\]"),
        "image": ({camera: np.zeros((4, 4), np.uint8)}, rf"'{camera}': an image is RGB.*uint8 \(4, 4\)"),
        "empty": ({camera: np.zeros((0, 4, 3), np.uint8)}, rf"'{camera}': an image is RGB.*pixels.*\(0, 4, 3\)"),
        "range": (
            {camera: np.full((4, 4, 3), 255.0)},
            rf"'{camera}': a float image must be in \[0, 1\]; got 255 .. 255",
        ),
    }[spoil]
    native = {k: v for k, v in (native | wrong).items() if v is not None}
    with pytest.raises(ValueError, match=f"'{robot.name}'.*{words}"):
        robot.canonical(native)


@pytest.mark.parametrize("layout", ["hwc", "chw"])
def test_images_are_read_in_either_layout_and_as_floats(robot, layout):
    images = robot.native_images(robot.fake_native(image_hw=(5, 7)))
    native = flatten_dict(robot.fake_native())
    for key, image in images.items():
        as_sent = image if layout == "hwc" else np.moveaxis(image, -1, 0)
        native[key] = (as_sent / 255 + 1e-4).clip(0, 1).astype(np.float32)  # not below: floats are truncated
    canonical = robot.canonical(native)
    for key, image in images.items():
        np.testing.assert_array_equal(canonical.images[robot.cameras[key]], image)
        assert canonical.images[robot.cameras[key]].dtype == np.uint8


def test_a_state_of_text_is_refused_without_being_written_out() -> None:
    robot = ROBOTS["libero"]
    hostile = np.zeros([6] * 7, "S1")
    with pytest.raises(ValueError, match=r"\|S1 of shape \(6, 6, 6, 6, 6, 6, 6\)"):
        robot.canonical({**robot.fake_native(), "observation/state": hostile})
    signalling = np.full(8, np.frombuffer(np.uint64(0x7FF0000000000001).tobytes(), np.float64)[0])
    with pytest.raises(ValueError, match="NaN or infinity"):
        robot.canonical({**robot.fake_native(), "observation/state": signalling})


def test_numbers_that_are_none_are_named_by_their_dimension() -> None:
    for name, key, place, dimension in (
        ("libero", "observation/state", 3, "eef_rx_rad"),
        ("droid", "observation/gripper_position", 0, "gripper_closed"),
    ):
        native = ROBOTS[name].fake_native()
        native[key][place] = np.nan
        with pytest.raises(ValueError, match=rf"'{key}' holds NaN or infinity in {dimension};"):
            ROBOTS[name].canonical(native)
    with pytest.raises(ValueError, match=r"must have shape \(7,\).*got \(\)"):
        ROBOTS["droid"].canonical({**ROBOTS["droid"].fake_native(), "observation/joint_position": 0.5})


def test_ten_half_ranges_from_the_middle_are_possible_and_no_more(robot):
    middle, half = (np.add(robot.state_low, robot.state_high) / 2, np.subtract(robot.state_high, robot.state_low) / 2)
    lines = robot.state_periods == 0
    for share in (-9.99, 9.99):
        assert not robot.impossible(middle + share * half).any()
    for share in (-10.01, 10.01):
        np.testing.assert_array_equal(robot.impossible(middle + share * half), lines)


def test_dimensions_beyond_their_range_are_told_four_at_most() -> None:
    told = beyond("abcdefghij", np.full(10, 9.0), [0.0] * 10, [1.0] * 10, np.arange(10) != 1)
    assert told == "a 9 (0 .. 1), c 9 (0 .. 1), d 9 (0 .. 1), e 9 (0 .. 1) and 5 more"
    assert beyond("ab", np.full(2, 9.0), [0.0] * 2, [1.0] * 2, np.array([False, True])) == "b 9 (0 .. 1)"


def test_a_state_in_other_units_is_refused_and_the_declared_ones_are_not(robot):
    for state in (robot.state_low, robot.state_high, robot.native_state(robot.fake_native())):
        assert not robot.impossible(np.array(state)).any()
    lines = robot.state_periods == 0  # an angle on a circle may count any number of turns
    for scale in (180 / np.pi, 1000.0):  # degrees for radians, millimetres for metres
        state = np.array(robot.state_high) * np.where(lines, scale, 1.0)
        ends = np.cumsum(list(robot.state_keys.values()))[:-1]
        native = {
            **flatten_dict(robot.fake_native()),
            **dict(zip(robot.state_keys, np.split(state, ends), strict=True)),
        }
        with pytest.raises(ValueError, match=rf"'{robot.name}' cannot be in this state: \w+ \S+ \(.* \.\. .*degrees"):
            robot.canonical(native)
