"""Columns and labels of a dataset against the robot that is trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import logging

import numpy as np

from inspire_fast.core.console import command_line
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import NO_ROBOT, FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Meta
from inspire_fast.data.lerobot.row_samples import require_rows_of
from inspire_fast.data.lerobot.schema import INDEX_FEATURES
from inspire_fast.robots import ROBOTS, Robot

PICTURE = "picture"
"""Column of a dataset of single pictures, which has neither states nor actions: the robot's first camera sees it."""
_LOG = logging.getLogger(__name__)


def is_of_pictures(meta: Meta) -> bool:
    """Whether a dataset holds single pictures and nothing else (`convert_dataset.py llava`)."""
    return set(meta.info["features"]) - set(INDEX_FEATURES) == {PICTURE}


def gripper_positions(dataset: LeRobotDataset, robot: Robot, state_columns: Sequence[str]) -> np.ndarray:
    """The gripper's recorded position in every row, metres, float64 `[n, 3]`, along the robot's axes.

    Raises:
        DatasetError: the robot does not declare its position, or the dataset lacks its columns.
    """
    signal = robot.gripper
    columns = (signal and signal.columns) or tuple(state_columns)
    if signal is None or (absent := [column for column in columns if column not in dataset.features]):
        why = "does not declare its gripper's position" if signal is None else f"needs the columns {absent} for it"
        raise DatasetError(
            f"{dataset.root}: the question about the gripper's movement needs its recorded position, and robot "
            f"{robot.name!r} {why}. Declare it (`Robot.gripper`), or leave the question `movement` out."
        )
    parts = dataset.columns(list(columns))
    values = np.concatenate([parts[column].reshape(len(dataset), -1) for column in columns], axis=-1)
    return values[:, list(signal.position)].astype(np.float64) * signal.metres_per_unit


def check_labels(dataset: LeRobotDataset, facts: FactsTable | None, robot: Robot) -> None:
    """Labels are vectors in frames: they may be of any robot whose frames have the same axes and words.

    Labels of single pictures are places alone, of no robot.
    """
    if facts is None:
        return
    require_rows_of(dataset, facts.made_from)
    if unknown := sorted(facts.cameras - {*robot.cameras.values()}):
        raise DatasetError(
            f"The labels of {dataset.root} are about places in the pictures of {unknown}; robot {robot.name!r} has the "
            f"cameras {sorted(robot.cameras.values())}. Label the dataset for {robot.name!r} "
            f"(`{command_line('label_dataset')}`), or train another robot."
        )
    if facts.robot in (robot.name, NO_ROBOT):
        return
    known = facts.robot in ROBOTS
    other = ROBOTS[facts.robot] if known else robot
    if not known or (other.axes, dict(other.frames)) != (robot.axes, dict(robot.frames)):
        theirs = f"with {other.axes} and the frames {[*other.frames]}" if known else "which this version does not know"
        raise DatasetError(
            f"The labels of {dataset.root} are about robot {facts.robot!r}, {theirs}, not {robot.name!r}, with "
            f"{robot.axes} and the frames {[*robot.frames]}. Label the dataset for {robot.name!r} "
            f"(`{command_line('label_dataset')}`)."
        )
    if other.image_orientation != robot.image_orientation:
        _LOG.warning(
            "The labels of %s are about robot %r, whose images are %s, and robot %r has them %s. The labels suit both "
            "(places in pictures are turned); make sure that the dataset's images are the latter.",
            dataset.root,
            facts.robot,
            other.image_orientation,
            robot.name,
            robot.image_orientation,
        )


def check_columns(
    dataset: LeRobotDataset, robot: Robot, columns: Mapping[str, str], action_column: str
) -> tuple[str, ...]:
    """Checks the dataset's columns against the robot; returns the state's columns in the robot's order."""
    missing = sorted({*columns, action_column} - set(dataset.features))
    if missing:
        raise DatasetError(
            f"{dataset.root} lacks the columns {missing}; it has {sorted(dataset.features)}. {_other_robots(dataset)}"
        )
    try:
        robot.require_keys(columns.values())
    except ValueError as error:
        raise DatasetError(f"{dataset.root}: {error}") from error
    column_of = {key: column for column, key in columns.items()}
    state_columns = {column_of[key]: dim for key, dim in robot.state_keys.items()}
    for column, expected in (*state_columns.items(), (action_column, robot.action_dim)):
        if dataset.features[column].shape != (expected,):
            raise DatasetError(
                f"{dataset.root}: column {column!r} has shape {dataset.features[column].shape}; "
                f"robot {robot.name!r} needs ({expected},)."
            )
    return tuple(state_columns)


def _other_robots(dataset: LeRobotDataset) -> str:
    """What to do about columns that a robot's dataset should have."""
    own = {column: feature.shape for column, feature in dataset.features.items()}
    fitting = [
        robot.name
        for robot in (ROBOTS[name] for name in sorted(ROBOTS))
        if {*robot.columns} <= own.keys()
        and own.get(robot.action_column) == (robot.action_dim,)
        and all(
            own[column] == (robot.state_keys[key],) for column, key in robot.columns.items() if key in robot.state_keys
        )
    ]
    other = (
        "If they have other names, say which is which: `--data.columns COLUMN KEY ...`, `--data.action-column NAME`."
    )
    if not fitting:
        return other
    known = " or ".join(f"`--robot {name}`" for name in fitting)
    return f"{other} If the robot has no such camera or state: all columns are here of {known}."
