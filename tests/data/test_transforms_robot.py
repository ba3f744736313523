"""Every robot's whole chain agrees with the training transform, and gives the robot its own actions back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inspire_fast.core.nested import flatten_dict
from inspire_fast.core.types import Sample
from inspire_fast.data.normalization.delta import delta_actions, make_bool_mask
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.normalization.stats import NormStats
from inspire_fast.data.openpi.robot import (
    Chain,
    RobotInputs,
    RobotOutputs,
    aloha_chain,
    droid_chain,
    inspire_arm_chain,
    inspire_model,
    libero_chain,
    pi0_fast_model,
    robot_chain,
)
from inspire_fast.data.openpi.transforms import (
    AbsoluteActions,
    DeltaActions,
)
from inspire_fast.data.training_transform import ModelInput, TrainingTransform
from inspire_fast.dialogue.testing import tiny_vocabulary
from inspire_fast.robots import ROBOTS, Robot
from tests.data.dictionaries import FACTS, HORIZON, SCRIPT, assert_unchanged, frozen, snapshot, stats

CHAINS = {"libero": libero_chain, "droid": droid_chain, "aloha": aloha_chain, "inspire_arm": inspire_arm_chain}
NAMES = list(ROBOTS)


def example(robot: Robot, seed: int = 0) -> tuple[dict[str, Any], dict[str, NormStats]]:
    """A dataset row in native keys, and statistics that put its actions within [-1, 1]."""
    random = np.random.default_rng(seed)
    native = robot.fake_native(seed=seed, image_hw=(12, 16))
    low, high = np.array(robot.action_low), np.array(robot.action_high)
    middle = robot.native_state(native)[: robot.action_dim] if robot.delta else (low + high) / 2
    actions = np.clip(middle + (high - low) * random.uniform(-0.05, 0.05, (HORIZON, robot.action_dim)), low, high)
    state = robot.canonical(native).state
    trained = delta_actions(robot.canonical_actions(actions.astype(np.float32)), state, robot.delta)
    limits = {"state": (state - 1, state + 1), "actions": (trained.min(0) - 0.1, trained.max(0) + 0.1)}
    made = {
        key: NormStats(mean=(a + b) / 2, std=np.abs(b - a), q01=a.astype(np.float64), q99=b.astype(np.float64))
        for key, (a, b) in limits.items()
    }
    return {**native, "actions": actions.astype(np.float32)}, made


def chain_of(robot: Robot, norm_stats: dict[str, NormStats], *, plain: bool = False) -> Chain:
    vocabulary = tiny_vocabulary(HORIZON, robot.action_dim)
    sizes = {"action_horizon": HORIZON, "action_dim": robot.action_dim, "image_hw": (16, 16), "max_token_len": 300}
    model = pi0_fast_model(vocabulary, **sizes) if plain else inspire_model(SCRIPT, vocabulary, **sizes)
    if robot.name in CHAINS:
        return CHAINS[robot.name](model=model, norm_stats=norm_stats)
    return robot_chain(robot, model=model, norm_stats=norm_stats)


@pytest.mark.parametrize("name", NAMES)
def test_every_robot_has_a_chain_that_agrees_with_the_training_transform(name: str) -> None:
    robot = ROBOTS[name]
    row, norm_stats = example(robot)
    chain = chain_of(robot, norm_stats)
    before = snapshot(frozen({**row, "facts": FACTS}))
    result = chain.inputs({**row, "facts": FACTS})
    assert_unchanged({**row, "facts": FACTS}, before)
    assert result.keys() == {
        *("image", "image_mask", "state", "actions"),
        *("tokenized_prompt", "tokenized_prompt_mask", "token_ar_mask", "token_loss_mask"),
    }
    transform = TrainingTransform(
        script=SCRIPT,
        vocabulary=tiny_vocabulary(HORIZON, robot.action_dim),
        inputs=ModelInput(
            cameras=robot.model_cameras,
            image_hw=(16, 16),
            normalizer=Normalizer(stats=norm_stats, delta=robot.delta),
        ),
        max_token_len=300,
        max_supervised=200,
    )
    actions = robot.canonical_actions(row["actions"])
    batch = transform(Sample(observation=robot.canonical(row), actions=actions, facts=FACTS), np.random.default_rng(0))
    np.testing.assert_array_equal(result["tokenized_prompt"], batch["ids"])
    np.testing.assert_array_equal(result["tokenized_prompt_mask"], batch["valid"])
    valid = batch["valid"]
    np.testing.assert_array_equal(result["token_ar_mask"][valid], np.diff(batch["block"], prepend=0)[valid] > 0)
    np.testing.assert_array_equal(
        np.flatnonzero(result["token_loss_mask"]), batch["target_at"][batch["target_kind"] > 0]
    )
    for camera in robot.model_cameras:
        np.testing.assert_array_equal(result["image"][camera], batch[f"image:{camera}"])
        assert result["image_mask"][camera]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("plain", [True, False], ids=["pi0_fast", "inspire"])
def test_ids_come_back_as_the_robots_own_actions(name: str, plain: bool) -> None:
    robot = ROBOTS[name]
    row, norm_stats = example(robot, seed=1)
    chain = chain_of(robot, norm_stats, plain=plain)
    made = chain.inputs({**row, "facts": FACTS})
    ids = made["tokenized_prompt"][made["tokenized_prompt_mask"]]
    lead = tiny_vocabulary(HORIZON, robot.action_dim).text.encode("Action: ")
    at = max(i for i in range(len(ids)) if ids[i : i + len(lead)].tolist() == lead)
    sampled = np.pad(ids[at if plain else at + len(lead) :], (0, 7)).astype(np.float32)  # as openpi samples them
    state = made["state"]
    back = chain.outputs(frozen({"state": np.asarray(state), "actions": sampled}))
    span = np.subtract(norm_stats["actions"].q99, norm_stats["actions"].q01)
    bound = 0.5 * HORIZON / 10 * span / 2  # FAST's resolution
    scale = np.abs(robot.action_map.to_native(np.ones((2, robot.action_dim)) * [[0.0], [1.0]])).max()
    assert (np.abs(back["actions"] - row["actions"]) <= bound * max(1.0, scale) + 1e-3).all()
    assert back.get("status", "ok") == "ok"


def test_an_absent_camera_is_black_and_shown_only_where_the_robot_has_none() -> None:
    native = ROBOTS["aloha"].fake_native(image_hw=(4, 6))
    del native["images"]["cam_left_wrist"]
    made = RobotInputs(robot=ROBOTS["aloha"])(native)
    assert not made["image"]["left_wrist_0_rgb"].any()
    assert made["image"]["left_wrist_0_rgb"].shape == (4, 6, 3)
    assert made["image_mask"] == {"base_0_rgb": True, "left_wrist_0_rgb": False, "right_wrist_0_rgb": True}
    droid = RobotInputs(robot=ROBOTS["droid"])(ROBOTS["droid"].fake_native())
    assert list(droid["image"]) == ["base_0_rgb", "base_1_rgb", "wrist_0_rgb"]
    assert not droid["image"]["base_1_rgb"].any()
    assert all(droid["image_mask"].values())


def test_datasets_are_repacked_to_native_keys() -> None:
    robot = ROBOTS["aloha"]
    row, norm_stats = example(robot)
    columns = {f"observation.images.{name}": image for name, image in row["images"].items()}
    dataset_row = {**columns, "observation.state": row["state"], "action": row["actions"], "prompt": row["prompt"]}
    chain = chain_of(robot, norm_stats, plain=True)
    for key, value in flatten_dict(chain.inputs(row)).items():
        np.testing.assert_array_equal(flatten_dict(chain.training(dataset_row))[key], value, err_msg=key)


def test_upstreams_extra_delta_on_libero_is_one_argument() -> None:
    _, norm_stats = example(ROBOTS["libero"])
    model = inspire_model(SCRIPT, tiny_vocabulary(HORIZON, 7), max_token_len=9, action_horizon=5, action_dim=7)
    extra = libero_chain(model=model, norm_stats=norm_stats, delta=make_bool_mask(6, -1))
    assert [type(t) for t in extra.data.inputs] == [RobotInputs, DeltaActions]
    assert [type(t) for t in extra.data.outputs] == [AbsoluteActions, RobotOutputs]
    assert [type(t) for t in libero_chain(model=model, norm_stats=norm_stats).data.inputs] == [RobotInputs]


@pytest.mark.parametrize("name", NAMES)
def test_statistics_of_another_robot_are_refused(name: str) -> None:
    robot = ROBOTS[name]
    wrong = {"state": stats(robot.state_dim + 1), "actions": stats(robot.action_dim)}
    with pytest.raises(ValueError, match=rf"'state' have {robot.state_dim + 1} dimensions; robot '{name}' has"):
        chain_of(robot, wrong)
    with pytest.raises(ValueError, match="'actions' have None dimensions"):
        chain_of(robot, {"state": stats(robot.state_dim)})


def test_a_network_without_a_robots_camera_is_refused() -> None:
    with pytest.raises(ValueError, match=r"robot 'droid' delivers \['wrist_0_rgb'\]"):
        RobotInputs(robot=ROBOTS["droid"], cameras=("base_0_rgb", "left_wrist_0_rgb"))


def test_robot_outputs_refuse_what_is_no_action() -> None:
    outputs = RobotOutputs(robot=ROBOTS["libero"])
    sampled = np.zeros((5, 32))
    assert outputs({"actions": sampled})["actions"].shape == (5, 7)
    assert not np.shares_memory(outputs({"actions": sampled})["actions"], sampled)
    for actions in (np.zeros((5, 6)), np.full((5, 7), np.nan)):
        with pytest.raises(ValueError, match=r"'libero' takes finite actions \[t, 7\]"):
            outputs({"actions": actions})
