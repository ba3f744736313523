"""Delta actions, resizing and openpi's dictionary helpers: nothing is changed in place, errors name the cause."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import jax
import numpy as np
import pytest

from inspire_fast.core.nested import flatten_dict, unflatten_dict
from inspire_fast.data.images import resize_with_pad
from inspire_fast.data.normalization.delta import absolute_actions, delta_actions
from inspire_fast.data.openpi import device_images
from inspire_fast.data.openpi.transforms import Carry, RepackTransform, make_bool_mask, pad_to_dim, transform_dict
from inspire_fast.models.layers import image_to_float
from tests.data.dictionaries import assert_unchanged, frozen, snapshot


@given(
    actions=hnp.arrays(np.float64, (3, 6), elements=st.floats(-10, 10)),
    state=hnp.arrays(np.float64, 8, elements=st.floats(-10, 10)),
    mask=st.lists(st.booleans(), max_size=6),
)
def test_absolute_actions_undo_delta_actions(actions: np.ndarray, state: np.ndarray, mask: list[bool]) -> None:
    relative = delta_actions(actions, state, mask)
    np.testing.assert_allclose(absolute_actions(relative, state, mask), actions, atol=1e-12)
    for dim in range(6):
        if dim < len(mask) and mask[dim]:
            np.testing.assert_array_equal(relative[:, dim], actions[:, dim] - state[dim])
        else:
            np.testing.assert_array_equal(relative[:, dim], actions[:, dim])


def test_whole_numbers_are_no_actions_to_take_a_delta_of_and_types_stay() -> None:
    actions, state = np.array([[10, 10]]), np.array([0.7, 1.9])
    for function in (delta_actions, absolute_actions):
        with pytest.raises(ValueError, match="needs float actions; got int64"):
            function(actions, state, (True,))
    relative = delta_actions(actions.astype(np.float32), state, (True, False))
    assert relative.dtype == np.float32
    np.testing.assert_allclose(relative, [[9.3, 10]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(300, 1, 3), (1, 300, 3), (0, 4, 3)])
def test_images_of_which_nothing_is_left_are_refused_on_host_and_device(shape: tuple[int, ...]) -> None:
    for resize in (resize_with_pad, device_images.resize_with_pad):
        with pytest.raises(ValueError, match=rf"of {shape[0]} x {shape[1]} px in 16 x 16 px.*nothing is left"):
            resize(np.zeros(shape, np.uint8), 16, 16)


def test_pictures_of_an_unknown_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8, or float in \[-1, 1\]; got int32"):
        image_to_float(jax.numpy.full((1, 8, 8, 3), 200, jax.numpy.int32))


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.dictionaries(st.text("xy", min_size=1), st.integers()))
)
def test_flat_and_nested_dictionaries_are_one(tree: dict[str, Any]) -> None:
    assert unflatten_dict(flatten_dict(tree)) == {k: v for k, v in tree.items() if v}


def test_padding_and_masks() -> None:
    assert make_bool_mask(2, -1, 0, 1) == (True, True, False, True)
    assert pad_to_dim(np.ones((2, 3)), 5).shape == (2, 5)
    np.testing.assert_array_equal(pad_to_dim(np.ones(2), 4, value=7.0), [1, 1, 7, 7])
    long = np.ones(9)
    np.testing.assert_array_equal(pad_to_dim(long, 4), long)


def test_a_path_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match=r"'stat'\. Did you mean 'state'"):
        RepackTransform({"s": "stat"})({"state": 1})


def test_repacking_and_carrying_leave_their_input_as_it_is() -> None:
    data = frozen({"image": {"base": np.zeros((4, 4, 3), np.uint8)}, "state": np.zeros(8), "actions": np.ones((5, 7))})
    before = snapshot(data)
    repack = RepackTransform({"picture": "image/base", "both": ["state", "actions"]})
    made = Carry(repack, keys=("actions", "absent"))(data)
    assert made.keys() == {"picture", "both", "actions"}
    assert_unchanged(data, before)


def test_a_mask_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask of 8 dimensions.*8 and 7"):
        delta_actions(np.zeros((2, 7)), np.zeros(8), (True,) * 8)


def test_names_that_collide_are_refused() -> None:
    with pytest.raises(ValueError, match="would become 'b', which is taken"):
        transform_dict({"a": "b"}, {"b": 1, "a": 2})
    with pytest.raises(ValueError, match=r"is a value itself|folder and a value"):
        transform_dict({"a": "b/c"}, {"a": 1, "b": 2})
