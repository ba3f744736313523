"""Gripper positions and openings of a dataset: the columns that hold them, and a check of those columns' names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import math
from pathlib import Path
import re

import numpy as np

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Episode, Feature
from inspire_fast.labeling.grasp_events import load_signal
from inspire_fast.labeling.row_digests import EpisodeRows
from inspire_fast.robots import ROBOTS, Robot
from inspire_fast.robots.gripper import GripperSignal

States = Callable[[Episode], np.ndarray]
"""Episode -> the values `[n, s]` that a gripper signal reads."""

# Words in names of dimensions that are no coordinate of a point, in metres.
_NO_POSITION = frozenset(
    [
        "joint",
        "joints",
        "angle",
        "angles",
        "waist",
        "shoulder",
        "elbow",
        "forearm",
        "motor",
        "gripper",
        "finger",
        "fingers",
        "roll",
        "pitch",
        "yaw",
        "rad",
        "deg",
        "mdeg",
        "rx",
        "ry",
        "rz",
        "qx",
        "qy",
        "qz",
        "qw",
        "quat",
        "velocity",
        "vel",
        "torque",
        "effort",
        "q",
        "j",
    ]
)


def gripper_states(
    dataset: LeRobotDataset, robot: Robot, *, column: str | None = None, given: Path | None = None
) -> tuple[GripperSignal, States]:
    """The gripper signal, and a function from an episode to the values `[n, s]` that it reads.

    Args:
        dataset: whose columns.
        robot: the embodiment.
        column: with the whole state; None: the columns that the robot names.
        given: JSON file with the signal (see `grasp_events.load_signal`); None: the robot's own.

    Raises:
        DatasetError: there is no signal; a column is missing or has other dimensions; or the names of the position's
            dimensions, in the dataset or in the robot, are of joints or the like.
    """
    signal = _signal(robot, given)
    if signal.columns and column is not None:
        raise DatasetError(
            f"The gripper signal of robot {robot.name!r} reads the columns {list(signal.columns)}, so the column "
            f"{column!r} would not be read: leave it out (`--state-column`), or name it in a signal (`--gripper FILE`)."
        )
    columns = signal.columns or ((column,) if column is not None else _state_columns(dataset, robot))
    features = [_feature(dataset, name, robot, signal) for name in columns]
    width = sum(math.prod(feature.shape) for feature in features)
    _check_width(signal, robot, width, where=f"{dataset.root}, columns {list(columns)}")
    named = [name for feature in features for name in _element_names(feature)]
    _check_names(signal, named if len(named) == width else [], f"{dataset.root}, columns {list(columns)}")
    if not signal.columns:
        _check_names(signal, robot.state_names, f"robot {robot.name!r}")
    rows = EpisodeRows(dataset, columns)

    def read(episode: Episode) -> np.ndarray:
        values = rows(episode)
        return np.concatenate([values[name].reshape(episode.length, -1) for name in columns], axis=1)

    return signal, read


def _check_width(signal: GripperSignal, robot: Robot, width: int, *, where: str) -> None:
    if not signal.columns and width != robot.state_dim:
        raise DatasetError(
            f"{where}: shape ({width},); robot {robot.name!r} has the {robot.state_dim} state dimensions "
            f"{robot.state_names}."
        )
    if not all(0 <= dimension < width for dimension in signal.dimensions):
        raise DatasetError(
            f"{where}: the gripper signal reads the dimensions {sorted(signal.dimensions)}; there are the dimensions "
            f"0..{width - 1}."
        )


def _signal(robot: Robot, given: Path | None) -> GripperSignal:
    if given is not None:
        return load_signal(given)
    if robot.gripper is None:
        known = sorted(name for name in ROBOTS if ROBOTS[name].gripper)
        raise DatasetError(
            f"Robot {robot.name!r} does not say which dimensions of its state {robot.state_names} are the gripper's "
            f"position and opening; {known} do. Set its field `gripper`, or write them to a JSON file and pass that "
            "(`--gripper FILE`; format: inspire_fast.labeling.grasp_events.load_signal)."
        )
    return robot.gripper


def _state_columns(dataset: LeRobotDataset, robot: Robot) -> tuple[str, ...]:
    """The columns that make up a robot's state, in its order; the column `state` where the dataset has only that."""
    column_of = {key: column for column, key in robot.columns.items()}
    columns = tuple(column_of[key] for key in robot.state_keys)
    return columns if set(columns) <= set(dataset.features) or "state" not in dataset.features else ("state",)


def _feature(dataset: LeRobotDataset, name: str, robot: Robot, signal: GripperSignal) -> Feature:
    if name in dataset.features:
        return dataset.feature(name)
    way_out = (
        "Convert the source again if it has the column, or name others in a signal (`--gripper FILE`)"
        if signal.columns
        else "Name the column of the state (`--state-column`)"
    )
    raise DatasetError(
        f"{dataset.root} has no column {name!r}, from which the gripper of robot {robot.name!r} is read; it has "
        f"{sorted(dataset.features)}. {way_out}."
    )


def _element_names(feature: Feature) -> Sequence[str]:
    """One name per element, or none: LeRobot stores a list, or an object that holds one."""
    names = feature.names
    if isinstance(names, Mapping):
        lists = [value for value in names.values() if isinstance(value, list)]
        names = lists[0] if len(lists) == 1 else list(names)
    fits = isinstance(names, list | tuple) and len(names) == math.prod(feature.shape)
    return [str(name) for name in names] if fits else []


def _check_names(signal: GripperSignal, names: Sequence[str], where: str) -> None:
    """Refuses a position whose dimensions are named as something else."""
    read = [names[dimension] for dimension in signal.position] if names else []
    wrong = [name for name in read if _NO_POSITION & set(re.findall(r"[a-z]+", name.lower()))]
    if wrong:
        raise DatasetError(
            f"{where}: the gripper's position is read from {read}, and {wrong} cannot be positions in metres. All "
            f"names: {list(names)}. Name the columns and dimensions of the gripper's Cartesian position in a signal "
            "(`--gripper FILE`; format: inspire_fast.labeling.grasp_events.load_signal)."
        )
