"""Producers of facts: the interface, and the readers of states and gripper signals that they share.

A producer is a frozen set of options. It is opened on a dataset and then labels one episode after another; the report
lists what it refuses. Producers: `Hindsight` (gripper events), `Annotations` (JSON lines), `ObjectInfo` (InSpire's
label files), `Replay` (LIBERO's simulator).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Episode
from inspire_fast.labeling.grasp_events import load_signal
from inspire_fast.labeling.row_digests import EpisodeRows
from inspire_fast.robots import ROBOTS, Robot
from inspire_fast.robots.gripper import GripperSignal

Labelled = tuple[list[SceneFacts | None], dict[str, Any]]
"""An episode's facts, one entry per frame (None: not labelled), and its entry of the report."""
Labeler = Callable[[Episode], Labelled]
States = Callable[[Episode], np.ndarray]


class Producer(Protocol):
    """Options of one source of facts."""

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """The function that labels an episode.

        Raises:
            DatasetError: the dataset or the robot lacks something that the producer needs.
        """
        ...

    def inputs(self, dataset: LeRobotDataset, episode: Episode) -> Sequence[Path]:
        """Files that an episode's facts are made from, apart from the dataset's and those named in the options."""
        del dataset, episode
        return ()


def frame_description(robot: Robot) -> str:
    """The frame of the facts' `offset_m`, in words."""
    axes = zip("xyz", (robot.axes.x, robot.axes.y, robot.axes.z), strict=True)
    return "world axes: " + ", ".join(f"+{axis} {positive}, -{axis} {negative}" for axis, (negative, positive) in axes)


def gripper_signal(robot: Robot, given: Path | None) -> GripperSignal:
    """The signal in the file `given`, else the robot's own.

    Raises:
        DatasetError: neither is there, or the file's dimensions do not fit the robot.
    """
    if given is not None:
        signal = load_signal(given)
        if not all(0 <= dimension < robot.state_dim for dimension in signal.dimensions):
            raise DatasetError(f"{given}: robot {robot.name!r} has the state dimensions 0..{robot.state_dim - 1}.")
        return signal
    if robot.gripper is None:
        known = sorted(name for name in ROBOTS if ROBOTS[name].gripper)
        raise DatasetError(
            f"Robot {robot.name!r} does not say which dimensions of its state {robot.state_names} are the gripper's "
            f"position and opening; {known} do. Set its field `gripper`, or write them to a JSON file and pass that "
            "(`--gripper FILE`; format: inspire_fast.labeling.grasp_events.load_signal)."
        )
    return robot.gripper


def episode_states(dataset: LeRobotDataset, column: str, robot: Robot) -> States:
    """A function from an episode to its states `[n, s]`.

    Raises:
        DatasetError: the column does not have the robot's state dimensions.
    """
    shape = dataset.feature(column).shape
    if shape != (robot.state_dim,):
        raise DatasetError(
            f"{dataset.root}: column {column!r} has shape {shape}; robot {robot.name!r} has the state "
            f"{robot.state_names}."
        )
    rows = EpisodeRows(dataset, [column])
    return lambda episode: rows(episode)[column]
