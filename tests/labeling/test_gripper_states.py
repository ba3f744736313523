"""The columns that a gripper signal reads, and names that contradict it."""

import json
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.labeling.gripper_states import _check_names, gripper_states
from inspire_fast.labeling.hindsight.producer import Hindsight
from inspire_fast.labeling.labeler import label_dataset
from inspire_fast.robots import ROBOTS
from tests.labeling.datasets import libero_states

LIBERO, DROID = ROBOTS["libero"], ROBOTS["droid"]
JOINTS = [*(f"joint_{number}" for number in range(1, 8)), "gripper"]
STATE = libero_states()


def write(root: Path, columns: dict[str, np.ndarray], names: dict[str, object] | None = None) -> LeRobotDataset:
    features = {
        name: {"dtype": "float32", "shape": values.shape[1:], "names": (names or {}).get(name)}
        for name, values in columns.items()
    }
    with DatasetWriter(root, fps=20, robot_type=None, features=features) as writer:
        writer.add_episode({n: v.astype(np.float32) for n, v in columns.items()}, task="put the can in the bin")
    return LeRobotDataset(root)


@pytest.mark.parametrize("names", [JOINTS, {"motors": JOINTS}, ["shoulder_pan.pos", *JOINTS[1:]]])
def test_joints_are_no_metres(tmp_path: Path, names: object):
    dataset = write(tmp_path / "d", {"state": STATE}, {"state": names})
    with pytest.raises(DatasetError, match=r"columns \['state'\].*cannot be positions in metres"):
        label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)


@pytest.mark.parametrize("names", [None, ["state"], list(LIBERO.state_names), {"motors": ["x", "y", "z", *"abcde"]}])
def test_names_that_say_nothing_else_are_believed(tmp_path: Path, names: object):
    signal, states = gripper_states(write(tmp_path / "d", {"state": STATE}, {"state": names}), LIBERO)
    dataset = LeRobotDataset(tmp_path / "d")
    np.testing.assert_array_equal(states(dataset.episodes[0]), STATE)
    assert signal == LIBERO.gripper


def test_every_robots_signal_reads_positions():
    for robot in (ROBOTS[name] for name in ROBOTS if ROBOTS[name].gripper):
        if not robot.gripper.columns:
            _check_names(robot.gripper, robot.state_names, robot.name)
    with pytest.raises(DatasetError, match="joint_1_rad"):
        _check_names(LIBERO.gripper, DROID.state_names, "droid")


def test_millimetres_are_no_metres(tmp_path: Path):
    dataset = write(tmp_path / "d", {"state": STATE * 1000})
    with pytest.raises(DatasetError, match=r"episode 0, frame \d+: the gripper is at .* no arm reaches"):
        label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)


def test_a_signal_may_read_columns_that_are_not_the_state(tmp_path: Path):
    pose, closed = STATE[:, :6], 1 - STATE[:, 6:7] / 0.04
    columns = {"cartesian_position": pose, "gripper_position": closed, "joint_position": np.zeros((len(pose), 7))}
    dataset = write(tmp_path / "d", columns)
    signal, states = gripper_states(dataset, DROID)
    np.testing.assert_allclose(signal.positions_m(states(dataset.episodes[0])), STATE[:, :3], atol=1e-6)
    np.testing.assert_allclose(signal.openings(states(dataset.episodes[0])), STATE[:, 6] / 0.04, atol=1e-6)
    with pytest.raises(DatasetError, match=r"'joint_position' would not be read"):
        gripper_states(dataset, DROID, column="joint_position")
    file = tmp_path / "gripper.json"
    file.write_text(
        json.dumps({"position": [0, 1, 2], "opening": {"7": -1.0}, "opening_at_zero": 1.0}), encoding="utf-8"
    )
    with pytest.raises(DatasetError, match="joint_1_rad"):  # of the state, which has no position
        gripper_states(dataset, DROID, given=file)
    file.write_text(
        json.dumps({"columns": ["cartesian_position"], "position": [0, 1, 2], "opening": {"6": -1.0}}), encoding="utf-8"
    )
    with pytest.raises(DatasetError, match=r"the dimensions 0\.\.5"):
        gripper_states(dataset, DROID, given=file)
