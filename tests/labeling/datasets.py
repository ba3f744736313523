"""Small LeRobot datasets of episodes with known gripper events, without pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter

FEATURES = {
    "state": {"dtype": "float32", "shape": (8,), "names": None},
    "actions": {"dtype": "float32", "shape": (7,), "names": None},
}
CAN, BIN = np.array([0.3, 0.2, 0.1]), np.array([0.3, -0.3, 0.2])
LENGTH = 60


def libero_states(*, grasp: bool = True, shift: float = 0.0) -> np.ndarray:
    """To the can (frames 0..19), closed from 20 to 39, on to the bin, open from 40."""
    states = np.zeros((LENGTH, 8), np.float32)
    states[:20, :3] = np.linspace([0, 0, 0.4], CAN + shift, 20)
    states[20:40, :3] = np.linspace(CAN + shift, BIN, 20)
    states[40:, :3] = BIN
    opening = np.full(LENGTH, 0.08)
    if grasp:
        opening[20:40] = 0.03
    states[:, 6], states[:, 7] = opening / 2, -opening / 2
    return states


def write(root: Path, episodes: Sequence[tuple[np.ndarray, str]]) -> LeRobotDataset:
    """Episodes of states and instruction; actions are zeros."""
    with DatasetWriter(root, fps=20, robot_type="panda", features=FEATURES) as writer:
        for states, task in episodes:
            actions = np.zeros((len(states), 7), np.float32)
            writer.add_episode({"state": states, "actions": actions}, task=task)
    return LeRobotDataset(root)


def change(dataset: LeRobotDataset, *, column: str, row: int) -> LeRobotDataset:
    """Moves one value by 0.01, on disk; the metadata stay what they are."""
    values = dataset.columns([column])[column].copy()
    values[row] += 0.01 if values.ndim == 1 else np.eye(1, values.shape[1], dtype=values.dtype)[0] / 100
    return _rewritten(dataset, column, values)


def damage(dataset: LeRobotDataset, row: int, dim: int) -> LeRobotDataset:
    """Puts a NaN into a dataset's states, which the writer refuses to write."""
    states = dataset.columns(["state"])["state"].copy()
    states[row, dim] = np.nan
    return _rewritten(dataset, "state", states)


def _rewritten(dataset: LeRobotDataset, column: str, values: np.ndarray) -> LeRobotDataset:
    path = dataset.episodes[0].data_path
    table = pq.read_table(path)
    field = table.schema.field(column)
    array = pa.array(list(values), type=field.type)
    pq.write_table(table.set_column(table.column_names.index(column), field, array), path)
    return LeRobotDataset(dataset.root)


def with_tasks(dataset: LeRobotDataset, task_index: np.ndarray) -> LeRobotDataset:
    """Gives every row of a dataset in one file its own `task_index`."""
    return _rewritten(dataset, "task_index", task_index)
