"""Dictionary transforms: nothing is changed in place, groups nest, and what does not fit is named."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
import pytest

from inspire_fast.core.nested import flatten_dict, unflatten_dict
from inspire_fast.data import images
from inspire_fast.data.normalization.delta import absolute_actions, delta_actions, make_bool_mask, pad_to_dim
from inspire_fast.data.openpi import device_images
from inspire_fast.data.openpi.transforms import (
    AbsoluteActions,
    Carry,
    DataTransformFn,
    DeltaActions,
    Group,
    InjectDefaultPrompt,
    Normalize,
    PadStatesAndActions,
    PromptFromLeRobotTask,
    RepackTransform,
    ResizeImages,
    SubsampleActions,
    Unnormalize,
    compose,
    transform_dict,
)
from tests.data.dictionaries import HORIZON, assert_unchanged, frozen, snapshot, stats

STEPS: dict[str, DataTransformFn] = {
    "repack": RepackTransform({"image": {"base": "image/base_0_rgb"}, "both": ["state", "actions"]}),
    "default_prompt": InjectDefaultPrompt("go"),
    "task": PromptFromLeRobotTask({3: "open the drawer"}),
    "resize": ResizeImages(8, 8),
    "zscore": Normalize({"state": stats(8), "actions": stats(7)}),
    "quantile": Normalize({"state": stats(8), "actions": stats(7)}, use_quantiles=True, strict=True),
    "unzscore": Unnormalize({"state": stats(8), "actions": stats(7)}),
    "unquantile": Unnormalize({"state": stats(8), "actions": stats(7)}, use_quantiles=True),
    "delta": DeltaActions(make_bool_mask(6, -1)),
    "absolute": AbsoluteActions(make_bool_mask(6, -1)),
    "pad": PadStatesAndActions(12),
    "subsample": SubsampleActions(2),
    "carry": Carry(RepackTransform({"x": "state"}), keys=("actions",)),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_changes_none_of_its_input(name: str) -> None:
    random = np.random.default_rng(0)
    data = frozen(
        {
            "image": {"base_0_rgb": random.integers(0, 256, (10, 12, 3), dtype=np.uint8)},
            "state": random.normal(size=8).astype(np.float32),
            "actions": random.normal(size=(HORIZON, 7)).astype(np.float32),
            "task_index": np.int64(3),
        }
    )
    before = snapshot(data)
    result = STEPS[name](data)
    assert isinstance(STEPS[name], DataTransformFn)
    assert_unchanged(data, before)
    assert result is not data


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
def test_pictures_of_which_nothing_is_left_are_refused_on_both_ways(shape: tuple[int, ...]) -> None:
    picture = np.zeros(shape, np.uint8)
    for resize in (images.resize_with_pad, device_images.resize_with_pad):
        with pytest.raises(ValueError, match=rf"of {shape[0]} x {shape[1]} px in 16 x 16 px.*nothing is left"):
            resize(picture, 16, 16)


def test_pictures_of_an_unknown_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8, or float in \[-1, 1\]; got int32"):
        device_images.preprocess({"cam": np.full((1, 8, 8, 3), 200, np.int32)}, cameras=["cam"], image_hw=(8, 8))


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.dictionaries(st.text("xy", min_size=1), st.integers()))
)
def test_flat_and_nested_dictionaries_are_one(tree: dict[str, Any]) -> None:
    assert unflatten_dict(flatten_dict(tree)) == {k: v for k, v in tree.items() if v}


def test_a_group_nests_its_outputs() -> None:
    def note(word: str) -> DataTransformFn:
        return lambda data: {"said": (*data["said"], word)}

    group = Group(inputs=[note("robot in")], outputs=[note("robot out")]).push(
        inputs=[note("delta in")], outputs=[note("delta out")]
    )
    assert compose(group.inputs)({"said": ()}) == {"said": ("robot in", "delta in")}
    assert compose(group.outputs)({"said": ()}) == {"said": ("delta out", "robot out")}


def test_prompts_come_from_a_default_or_a_task() -> None:
    assert InjectDefaultPrompt("go")({})["prompt"].item() == "go"
    assert InjectDefaultPrompt("go")({"prompt": "stay"}) == {"prompt": "stay"}
    assert InjectDefaultPrompt(None)({}) == {}
    assert PromptFromLeRobotTask({3: "open"})({"task_index": np.array(3)})["prompt"] == "open"


def test_padding_and_masks() -> None:
    assert make_bool_mask(2, -1, 0, 1) == (True, True, False, True)
    assert pad_to_dim(np.ones((2, 3)), 5).shape == (2, 5)
    np.testing.assert_array_equal(pad_to_dim(np.ones(2), 4, value=7.0), [1, 1, 7, 7])
    long = np.ones(9)
    np.testing.assert_array_equal(pad_to_dim(long, 4), long)


@pytest.mark.parametrize(
    ("transform", "data", "words"),
    [
        (RepackTransform({"s": "stat"}), {"state": 1}, r"'stat'\. Did you mean 'state'"),
        (PromptFromLeRobotTask({0: "a"}), {"task_index": 1}, "task_index 1 is none"),
        (PromptFromLeRobotTask({0: "a"}), {"state": 1}, "No 'task_index'"),
        (ResizeImages(8, 8), {"image": {"cam": np.zeros((4, 4, 3))}}, "'cam': resize_with_pad needs uint8.*float64"),
        (Normalize({"state": stats(6)}), {"state": np.zeros(8)}, "'state': Cannot normalise 8.*of 6.*another robot's"),
        (Unnormalize({"actions": stats(7)}), {"state": np.zeros(8)}, r"statistics of \['actions'\].*only \['state'\]"),
        (Normalize({"x": stats(7)}, strict=True), {"state": np.zeros(8)}, r"statistics of \['x'\]"),
        (
            DeltaActions((True,) * 8),
            {"state": np.zeros(8), "actions": np.zeros((2, 7))},
            "mask of 8 dimensions.*8 and 7",
        ),
    ],
)
def test_what_does_not_fit_is_named(transform: DataTransformFn, data: dict, words: str) -> None:
    with pytest.raises((ValueError, KeyError), match=words):
        transform(data)


def test_names_that_collide_are_refused() -> None:
    with pytest.raises(ValueError, match="would become 'b', which is taken"):
        transform_dict({"a": "b"}, {"b": 1, "a": 2})
    with pytest.raises(ValueError, match=r"is a value itself|folder and a value"):
        transform_dict({"a": "b/c"}, {"a": 1, "b": 2})
