"""A new robot is one specification and one registry entry: everything else finds what it needs there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.core.nested import flatten_dict
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.labeling.hindsight.producer import Hindsight
from inspire_fast.labeling.labeler import label_dataset
from inspire_fast.robots import ROBOTS, Robot
from inspire_fast.robots.axes import Axes
from inspire_fast.robots.gripper import GripperSignal
from inspire_fast.robots.spec import VectorMap
from inspire_fast.training.config import DataConfig, TrainConfig
from inspire_fast.training.datasets.sources import training_columns
from tests.labeling.datasets import BIN, CAN, libero_states

MILLIMETRES = np.array([1000.0, 1000.0, 1000.0, 1.0])
GANTRY = Robot(  # a gripper on three rails, which speaks millimetres and is trained in metres
    name="gantry",
    cameras={"top": "base_0_rgb"},
    state_keys={"pose": 4},
    state_names=("x_mm", "y_mm", "z_mm", "gripper_closed"),
    state_low=(-500.0, -500.0, 0.0, 0.0),
    state_high=(500.0, 500.0, 500.0, 1.0),
    action_names=("x_mm", "y_mm", "z_mm", "gripper_closed"),
    action_low=(-500.0, -500.0, 0.0, 0.0),
    action_high=(500.0, 500.0, 500.0, 1.0),
    hold_at=np.copy,
    gripper_dims=(3,),
    control_hz=20.0,
    axes=Axes(x=("back", "front"), y=("left", "right"), z=("down", "up")),
    image_orientation="upright",
    columns={"camera": "top", "state": "pose"},
    action_column="command",
    gripper=GripperSignal(position=(0, 1, 2), opening={3: -1.0}, opening_at_zero=1.0, metres_per_unit=1e-3),
    state_map=VectorMap(to_canonical=lambda x: x / MILLIMETRES, to_native=lambda x: x * MILLIMETRES),
    action_map=VectorMap(to_canonical=lambda x: x / MILLIMETRES, to_native=lambda x: x * MILLIMETRES),
)
TASK = "put the can in the bin"


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Robot:
    monkeypatch.setitem(ROBOTS._entries, GANTRY.name, GANTRY)  # what one more line in robots/registry.py does
    return ROBOTS["gantry"]


@pytest.fixture
def dataset(robot: Robot, tmp_path: Path) -> LeRobotDataset:
    """One episode that carries the can to the bin, in the robot's units and under the column names that it declares."""
    libero = libero_states()
    closed = (libero[:, 6] < libero[0, 6]) * 0.6
    state = np.concatenate([libero[:, :3] * 1000, closed[:, None]], axis=1).astype(np.float32)
    features = {
        "camera": {"dtype": "image", "shape": (8, 8, 3)},
        "state": {"dtype": "float32", "shape": (4,)},
        "command": {"dtype": "float32", "shape": (4,)},
    }
    with DatasetWriter(tmp_path / "set", fps=20, robot_type=robot.name, features=features) as writer:
        pictures = np.zeros((len(state), 8, 8, 3), np.uint8)
        writer.add_episode({"camera": pictures, "state": state, "command": state}, task=TASK)
    return LeRobotDataset(tmp_path / "set")


def test_observations_and_actions_round_trip(robot: Robot) -> None:
    native = robot.fake_native(seed=3)
    back = flatten_dict(robot.native_observation(robot.canonical(native)))
    np.testing.assert_allclose(back["pose"], native["pose"], rtol=1e-6)
    np.testing.assert_array_equal(back["top"], native["top"])
    actions = np.array([[10.0, -20.0, 30.0, 1.0]])
    np.testing.assert_allclose(robot.native_actions(robot.canonical_actions(actions)), actions, rtol=1e-6)


def test_datasets_are_read_by_the_columns_that_it_declares(robot: Robot, dataset: LeRobotDataset) -> None:
    config = TrainConfig(name="toy", robot="gantry", data=DataConfig(root=dataset.root))
    (part,) = config.data.datasets
    assert training_columns(config.data, config.embodiment, part) == ({"camera": "top", "state": "pose"}, "command")
    sample = ChunkSource(dataset, None, robot=robot, horizon=2)[20]
    assert sample.actions is not None
    assert sample.observation.images.keys() == {"base_0_rgb"}
    np.testing.assert_allclose(sample.observation.state, [*CAN, 0.6], atol=1e-6)
    np.testing.assert_allclose(sample.actions[0], [*CAN, 0.6], atol=1e-6)


def test_episodes_are_labelled_from_the_gripper_signal_that_it_declares(robot: Robot, dataset: LeRobotDataset) -> None:
    label_dataset(dataset, Hindsight(), robot=robot, progress=False)
    first, carried = (FactsTable.load(dataset.root).facts(0, frame) for frame in (0, 30))
    assert first is not None
    assert carried is not None
    np.testing.assert_allclose(first.targets[0].offset_m, CAN - [0, 0, 0.4], atol=1e-5)
    np.testing.assert_allclose(first.targets[1].offset_m, BIN - [0, 0, 0.4], atol=1e-5)
    assert [target.grasped for target in carried.targets] == [True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": {"camera": "top"}}, r"needs the keys \['pose', 'top'\].*map to \['top'\]"),
        ({"columns": {**GANTRY.columns, "wrist": "hand"}}, r"needs the keys .*map to \['hand', 'pose', 'top'\]"),
        ({"gripper": GripperSignal(position=(0, 1, 2), opening={4: 1.0})}, "reads beyond 4 state dimensions"),
    ],
)
def test_columns_and_gripper_that_are_not_the_robots_are_refused(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=f"'gantry'.*{words}"):
        replace(GANTRY, **change)
