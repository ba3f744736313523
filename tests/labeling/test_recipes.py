"""The commands that the configs of DROID and ALOHA prescribe, on small datasets: from the source to questions."""

import json
from pathlib import Path
import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspire_fast.commands import compute_norm_stats, convert_dataset, label_dataset
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.robots import ROBOTS
from inspire_fast.training.datasets.sources import open_parts
from inspire_fast.training.named_configs import load_config
from tests.labeling.datasets import CAN, LENGTH, libero_states

CONFIGS = Path(__file__).parents[2] / "configs"
COMMANDS = {
    "convert_dataset": convert_dataset,
    "label_dataset": label_dataset,
    "compute_norm_stats": compute_norm_stats,
}
PUT = "put the can in the bin"


def follow(config: str, **files: Path) -> list[str]:
    """Runs the commands before the launch, with files in the place of `<words>`; returns their names."""
    text = (CONFIGS / f"{config}.py").read_text(encoding="utf-8").split('"""')[1]
    done = []
    for name, rest in re.findall(r"^ +uv run scripts/(\w+)\.py (.+)$", text, flags=re.MULTILINE):
        if name in COMMANDS:
            words = re.sub(r"<(\w+).*?>", lambda found: str(files[found[1]]), rest).split()
            COMMANDS[name].main(words)
            done.append(name)
    return done


def droid_step(frame: int) -> dict[str, Any]:
    state, rng = libero_states()[frame], np.random.default_rng(frame)
    return {
        "observation": {
            **{name: np.zeros((6, 8, 3), np.uint8) for name in ("exterior_image_1_left", "exterior_image_2_left")},
            "wrist_image_left": np.zeros((6, 8, 3), np.uint8),
            "joint_position": rng.normal(size=7),
            "gripper_position": np.array([1 - state[6] / 0.04]),
            "cartesian_position": state[:6].astype(np.float64),
        },
        "action_dict": {"joint_velocity": rng.normal(size=7), "gripper_position": rng.random(1)},
        "language_instruction": PUT.encode(),
    }


def rlds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared DROID of two episodes, one of them a failure, as TensorFlow Datasets would read it."""
    steps = [droid_step(frame) for frame in range(LENGTH)]
    outcomes = (b"lab/success/0.h5", b"lab/failure/1.h5", b"lab/success/2.h5")
    episodes = [{"steps": steps, "episode_metadata": {"file_path": path}} for path in outcomes]
    builder = SimpleNamespace(as_dataset=lambda **_: episodes)
    library = SimpleNamespace(
        builder_from_directory=lambda _: builder, as_numpy=lambda tree: tree, ReadConfig=lambda **_: None
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", library)
    folder.mkdir()
    (folder / "dataset_info.json").write_text("{}", encoding="utf-8")
    return folder


def test_droid_from_rlds_to_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert follow("inspire_droid", RLDS=rlds(tmp_path / "rlds", monkeypatch)) == list(COMMANDS)
    config = load_config("inspire_droid")
    (part,) = open_parts(config, "train")
    first, held = part.source[0], part.source[25]
    assert first.observation.state.shape == (8,)
    can, place = GROUNDINGS["instruction"].facts(PUT, first.facts).targets
    np.testing.assert_allclose(can.offset_m, CAN - [0, 0, 0.4], atol=1e-5)
    assert (can.phrase, place.phrase) == ("the can", "the bin")
    assert [target.grasped for target in held.facts.targets] == [True, False]
    table = FactsTable.load(tmp_path / "data" / "droid")
    assert table.robot == "droid"
    assert "+y left" in table.frame_description  # DROID's base frame, not LIBERO's


def test_aloha_from_annotations_to_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    robot, root, length = ROBOTS["aloha"], tmp_path / "data" / "aloha", 40
    rng, low, high = np.random.default_rng(0), np.array(robot.state_low), np.array(robot.state_high)
    values = rng.uniform(low, high, (length, 14)).astype(np.float32)
    cameras = [column for column in robot.columns if "images" in column]
    features = {name: {"dtype": "float32", "shape": (14,)} for name in ("observation.state", "action")}
    features |= {name: {"dtype": "image", "shape": (6, 8, 3)} for name in cameras}
    with DatasetWriter(root, fps=50, robot_type="aloha", features=features) as writer:
        pictures = {name: np.zeros((length, 6, 8, 3), np.uint8) for name in cameras}
        writer.add_episode({"observation.state": values, "action": values, **pictures}, task=PUT)
    target = {"phrase": "the can", "offset_m": [0.1, -0.2, -0.3]}
    lines = tmp_path / "lines.jsonl"
    lines.write_text(json.dumps({"episode": 0, "frames": [0, 20], "targets": [target]}) + "\n", encoding="utf-8")
    assert follow("inspire_aloha", annotations=lines) == ["label_dataset", "compute_norm_stats"]
    (part,) = open_parts(load_config("inspire_aloha"), "train")
    assert [t.phrase for t in GROUNDINGS["instruction"].facts(PUT, part.source[0].facts).targets] == ["the can"]
    assert part.source[30].facts is None
