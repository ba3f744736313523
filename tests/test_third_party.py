"""The package against the contract in third_party/openpi, and InSpire inside an upstream config as documented there."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspire_fast.client.codec import CodecError, pack
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.normalization import stats as normalize
from inspire_fast.data.normalization.stats import NormStats, normalize_quantile, normalize_zscore
from inspire_fast.data.openpi.transforms import make_bool_mask
from inspire_fast.dialogue.render import STATE_BINS, PromptFields, render
from inspire_fast.dialogue.script import SCRIPTS, ActionSlot, Context, Forced, Script
from inspire_fast.dialogue.testing import DIRECTION, tiny_vocabulary
from inspire_fast.robots import ROBOTS
from inspire_fast.training.augment import RECIPES
from inspire_fast.training.config import OptimizerConfig, TrainConfig

OPENPI = Path(__file__).parents[1] / "third_party/openpi"
CONVENTIONS = json.loads((OPENPI / "conventions.json").read_text(encoding="utf-8"))
HORIZON = 5
VOCABULARY = tiny_vocabulary(HORIZON, 7)
SCRIPT = SCRIPTS["inspire"](DIRECTION)
FACTS = SceneFacts(
    targets=(
        TargetFacts(phrase="the red block", offset_m=np.array([0.0, -0.2, 0.1], np.float32), grasped=False),
        TargetFacts(phrase="the plate", offset_m=np.array([0.3, 0.0, 0.1], np.float32), grasped=False),
    )
)


# The contract as data


@pytest.mark.parametrize("name", CONVENTIONS["robots"])
def test_robots(name: str) -> None:
    robot, wanted = ROBOTS[name], CONVENTIONS["robots"][name]
    assert dict(robot.cameras) == wanted["cameras"]
    assert list(robot.model_cameras) == wanted["model_cameras"]
    assert list(robot.unused_cameras) == wanted.get("unused_cameras", [])
    assert dict(robot.state_keys) == wanted["state"]
    assert (robot.action_dim, robot.control_hz) == (wanted["action_dim"], wanted["control_hz"])
    assert robot.delta == make_bool_mask(*wanted.get("delta_mask", ()))
    if "joint_signs" in wanted:
        grippers = list(robot.gripper_dims)
        turned = np.delete(robot.state_map.to_canonical(np.full(robot.state_dim, 0.5)), grippers)
        np.testing.assert_array_equal(np.sign(turned), np.delete(np.array(wanted["joint_signs"]), grippers))
    if "gripper" in wanted:
        closed_and_open = robot.action_map.to_canonical(np.array([[0.0], [1.0]]) * np.ones(robot.action_dim))
        gripper = wanted["gripper"]
        expected = np.array(gripper["motor_rad"]) - gripper["pi0_rad"][0]
        np.testing.assert_allclose(closed_and_open[:, robot.gripper_dims[0]], expected, atol=1e-6)
    if "settling_action" in wanted:
        assert list(robot.hold_action or ()) == wanted["settling_action"]
    assert robot.image_orientation == ("rotated_180" if wanted.get("image_rotation_deg") == 180 else "upright")


def test_prompt_and_vocabulary() -> None:
    prompt = CONVENTIONS["prompt"]
    script: Script = SCRIPTS["pi0_fast"](DIRECTION)
    context, forced, slot = script.segments
    assert isinstance(context, Context)
    assert isinstance(forced, Forced)
    assert isinstance(slot, ActionSlot)
    assert (context.text, forced.text, slot.end, slot.eos) == tuple(
        prompt[k] for k in ("context", "action", "end", "eos")
    )
    assert prompt["state_bins"] == STATE_BINS
    upstream = CONVENTIONS["vocabulary"]
    assert upstream["first_action_id"] == upstream["size"] - 1 - upstream["skip"]
    assert (VOCABULARY.text.eos_id, VOCABULARY.text.bos_id) == (upstream["eos"], upstream["bos"])


def test_normalisation() -> None:
    wanted = CONVENTIONS["normalisation"]
    values = {"mean": 0.5, "std": 2.0, "q01": -1.0, "q99": 3.0, "x": 0.7, "epsilon": wanted["epsilon"]}
    stats = NormStats(**{k: np.array([values[k]]) for k in ("mean", "std", "q01", "q99")})
    for kind, function in (("quantile", normalize_quantile), ("zscore", normalize_zscore)):
        formula = eval(wanted[kind], {}, values)
        np.testing.assert_allclose(function(np.array([0.7]), stats), [formula], rtol=1e-12)
    layout = json.loads((OPENPI / "checkpoint_layout.json").read_text(encoding="utf-8"))["norm_stats"]
    assert layout["file"] == normalize.FILE_NAME
    assert set(layout["statistics"]) == {f.name for f in dataclasses.fields(NormStats)}


def test_training_defaults() -> None:
    wanted = CONVENTIONS["training_defaults"]
    ours = inspect.signature(TrainConfig).parameters
    for key in ("batch_size", "steps", "seed"):
        assert ours[key].default == wanted[key], key
    optimizer = OptimizerConfig()
    assert optimizer.ema_decay == wanted["ema_decay"]
    for key, value in wanted["optimizer"].items():
        assert getattr(optimizer, key) == value, key
    for key in ("peak_lr", "end_lr", "warmup_steps"):
        assert getattr(optimizer, key) == wanted["schedule"][key], key
    assert (optimizer.decay_steps or wanted["steps"]) == wanted["schedule"]["decay_steps"]


def test_augmentation() -> None:
    wanted = CONVENTIONS["augmentation"]
    for recipe, changes in (("intended", {}), ("openpi", wanted["in_fact"])):
        expected = {**wanted["not_wrist"], **wanted["all"], **changes}
        assert {key: getattr(RECIPES[recipe], key) for key in expected} == expected


def test_the_wire() -> None:
    wire = json.loads((OPENPI / "wire.json").read_text(encoding="utf-8"))
    for name, value in (("array", np.zeros(2, np.float32)), ("scalar", np.float32(1))):
        packed = pack(value)
        for key in wire["encodings"][name]:
            assert key.encode() in packed
    dtypes = {"V": [("a", "<i4")], "O": object, "c": np.complex64}
    for kind in wire["refused_dtype_kinds"]:
        with pytest.raises(CodecError):
            pack(np.zeros(2, dtypes[kind]))


def test_the_trees_have_the_sizes_that_are_named() -> None:
    trees = json.loads((OPENPI / "checkpoint_layout.json").read_text(encoding="utf-8"))["trees"]
    for about in trees.values():
        leaves = json.loads((OPENPI / about["file"]).read_text(encoding="utf-8"))["leaves"]
        assert len(leaves) == about["leaves"]
        assert sum(int(np.prod(leaf["shape"])) for leaf in leaves) == about["parameters"]


# Inside an upstream config


@dataclasses.dataclass(frozen=True)
class Group:
    """What upstream's group is to a config."""

    inputs: Any = ()
    outputs: Any = ()


@dataclasses.dataclass(frozen=True)
class Repack:
    structure: dict[str, str]

    def __call__(self, data: dict) -> dict:
        return {key: data[path] for key, path in self.structure.items()}


@dataclasses.dataclass(frozen=True)
class Resize:
    height: int
    width: int

    def __call__(self, data: dict) -> dict:
        data["image"] = {
            k: np.zeros((self.height, self.width, 3), np.uint8) for k in data["image"]
        }  # upstream writes in place
        return data


@dataclasses.dataclass(frozen=True)
class LiberoInputs:
    """As upstream's: builds a new dictionary, and knows nothing of facts."""

    model_type: str

    def __call__(self, data: dict) -> dict:
        base = data["observation/image"]
        names = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
        inputs = {
            "state": data["observation/state"],
            "image": dict(zip(names, (base, data["observation/wrist_image"], np.zeros_like(base)), strict=True)),
            "image_mask": dict.fromkeys(names, np.True_),
        }
        return {**inputs, **{k: data[k] for k in ("actions", "prompt") if k in data}}


class LiberoOutputs:
    def __call__(self, data: dict) -> dict:
        return {"actions": np.asarray(data["actions"][:, :7])}


@dataclasses.dataclass(frozen=True)
class DataConfig:
    repack_transforms: Group = Group()
    data_transforms: Group = Group()
    model_transforms: Group = Group()


@dataclasses.dataclass(frozen=True)
class DataConfigFactory:
    def create_base_config(self, assets_dirs: Path, model_config: Any) -> DataConfig:
        return DataConfig()


def module(name: str, **members: Any) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(members)
    return made


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """The example of the document, run as it stands there, with stand-ins for what it imports of upstream."""
    transforms = module("openpi.transforms", Group=Group, RepackTransform=Repack, ResizeImages=Resize)
    model = module("openpi.models.model", BaseModelConfig=object)
    libero = module("openpi.policies.libero_policy", LiberoInputs=LiberoInputs, LiberoOutputs=LiberoOutputs)
    training = module("openpi.training.config", DataConfigFactory=DataConfigFactory, DataConfig=DataConfig)
    packages = {
        "openpi": module("openpi", transforms=transforms),
        "openpi.models": module("openpi.models", model=model),
        "openpi.policies": module("openpi.policies", libero_policy=libero),
        "openpi.training": module("openpi.training", config=training),
    }
    for made in (*packages.values(), transforms, model, libero, training):
        monkeypatch.setitem(sys.modules, made.__name__, made)
    text = (OPENPI / "inspire_in_openpi.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    example = module("example")
    monkeypatch.setitem(sys.modules, "example", example)  # dataclasses look their module up
    exec(compile(code, "inspire_in_openpi.md", "exec"), example.__dict__)
    table = SimpleNamespace(facts=lambda episode, frame: FACTS if (episode, frame) == (2, 5) else None)
    factory = example.InspireLiberoDataConfig(script=SCRIPT, vocabulary=VOCABULARY, facts=table)
    sizes = SimpleNamespace(model_type="pi0_fast", max_token_len=220, action_horizon=HORIZON, action_dim=7)
    return factory.create(Path("assets"), sizes)


def run(transforms: Any, data: dict) -> dict:
    for transform in transforms:
        data = transform(data)
    return data


def observation() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "observation/image": random.integers(0, 256, (32, 32, 3), dtype=np.uint8),
        "observation/wrist_image": random.integers(0, 256, (32, 32, 3), dtype=np.uint8),
        "observation/state": random.uniform(-1, 1, 8),
        "prompt": "put the red block on the plate",
    }


CHUNK = np.linspace(-0.9, 0.9, HORIZON * 7).reshape(HORIZON, 7).astype(np.float32)


def test_the_documented_config_trains(config: DataConfig) -> None:
    native = observation()
    row = {key.removeprefix("observation/"): value for key, value in native.items()}
    row |= {"actions": CHUNK, "episode_index": np.int64(2), "frame_index": np.int64(5), "task_index": np.int64(0)}
    in_batches = run([*config.repack_transforms.inputs, *config.data_transforms.inputs], row)
    # What upstream's statistics put into batches: numbers, and the prompt, which it removes.
    assert all(np.asarray(v).dtype != object for k, v in in_batches.items() if k not in ("image", "image_mask"))
    made = run(config.model_transforms.inputs, in_batches)
    assert made.keys() == {
        *("image", "image_mask", "state", "actions"),
        *("tokenized_prompt", "tokenized_prompt_mask", "token_ar_mask", "token_loss_mask"),
    }
    fields = PromptFields(
        instruction=native["prompt"], state=native["observation/state"], targets=("the red block", "the plate")
    )
    ids = render(
        SCRIPT, fields, VOCABULARY, answers=("left", "front"), action_ids=VOCABULARY.action.encode(CHUNK)
    ).tokens.ids
    np.testing.assert_array_equal(made["tokenized_prompt"], np.pad(ids, (0, 220 - len(ids))))
    assert {v.shape for k, v in made.items() if k.startswith("token")} == {(220,)}


def test_the_documented_config_acts_on_given_answers(config: DataConfig) -> None:
    data = {**observation(), "targets": ["the red block", "the plate"], "answers": ["left", "front"]}
    made = run([*config.data_transforms.inputs, *config.model_transforms.inputs], data)
    length = int(made["tokenized_prompt_mask"].sum())
    assert VOCABULARY.text.decode(made["tokenized_prompt"][:length]).endswith("Answer: front;\nAction: ")
    end = VOCABULARY.text.encode("|", eos=True)
    sampled = np.concatenate([VOCABULARY.from_action(VOCABULARY.action.encode(CHUNK)), end, np.zeros(30)])
    answer = {"state": made["state"], "actions": sampled.astype(np.float32)}
    outputs = run([*config.model_transforms.outputs, *config.data_transforms.outputs], answer)
    np.testing.assert_allclose(outputs["actions"], CHUNK, atol=0.5 * HORIZON / 10)


def test_a_row_without_facts_is_refused_by_the_documented_config(config: DataConfig) -> None:
    row = {key.removeprefix("observation/"): value for key, value in observation().items()}
    row |= {"actions": CHUNK, "episode_index": np.int64(2), "frame_index": np.int64(6)}
    with pytest.raises(ValueError, match=r"neither .facts. nor enough .answers.\. Label the dataset"):
        run([*config.repack_transforms.inputs, *config.data_transforms.inputs, *config.model_transforms.inputs], row)
