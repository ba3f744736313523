"""Places in pictures from recorded positions and a calibrated camera: the gripper, its coming path, and the targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
import hashlib
from pathlib import Path

import numpy as np

from inspire_fast.core.ranges import Count, require_ranges
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.facts import FACTS_PATH, FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.labeling.calibration import PinholeCamera, load
from inspire_fast.labeling.gripper_states import gripper_states
from inspire_fast.labeling.producer import Labeler, Labelled, Part, Producer
from inspire_fast.labeling.traces import POINTS, gripper_events, with_traces
from inspire_fast.robots import Robot


@dataclass(frozen=True, kw_only=True)
class Traces(Producer):
    """Adds places in pictures to a dataset's labels; labels of other things stay as they are.

    The gripper's place and coming path follow from its recorded positions, and the point of a target from its offset.
    The dataset need not have labels. A path ends at the next gripper event (the fingers rest on something, or let go).

    Attributes:
        calibration: file of `label_dataset.py calibrate`.
        points: of a path.
        state_column: column with the gripper's position and opening; None: the robot's.
        gripper: JSON file with the robot's gripper signal (see `grasp_events.load_signal`); None: the robot's own.
    """

    calibration: Path
    points: Count = POINTS
    state_column: str | None = None
    gripper: Path | None = None

    def __post_init__(self) -> None:
        require_ranges(self)

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """Reads the calibration and the labels that there are.

        Raises:
            DatasetError: the calibration is of a camera that the robot lacks, or of pictures of another size.
        """
        name, camera = load(self.calibration)
        self._check(name, camera, dataset, robot)
        signal, states = gripper_states(dataset, robot, column=self.state_column, given=self.gripper)
        table = _existing(dataset, robot)
        height, width = camera.picture_hw

        def label(part: Part) -> Labelled:
            episode = part.episode
            values = states(episode)
            positions = signal.positions_m(values)
            places = camera.project(positions)
            scenes = [
                _located(
                    None if table is None else table.facts(episode.index, frame),
                    positions[frame],
                    places[frame],
                    camera,
                    name,
                )
                for frame in range(episode.length)
            ]
            events = gripper_events(signal.openings(values), dataset.meta.fps, signal)
            traced = with_traces(scenes, events, points=self.points, aspect=width / height)
            told = traced[part.frames]
            lost = sum(scene is not None and scene.trace_px is None for scene in told)
            return told, {"frames_without_trace": lost, "events": list(events)}

        return Labeler(label=label, judged_by=_digest(dataset.root / FACTS_PATH))

    def _check(self, name: str, camera: PinholeCamera, dataset: LeRobotDataset, robot: Robot) -> None:
        columns = {robot.cameras[key]: column for column, key in robot.columns.items() if key in robot.cameras}
        if name not in columns:
            raise DatasetError(
                f"{self.calibration} is of the camera {name!r}; robot {robot.name!r} has {sorted(columns)}."
            )
        if columns[name] in dataset.features:
            shape = dataset.feature(columns[name]).shape
            if (shape[0], shape[1]) != camera.picture_hw:
                raise DatasetError(
                    f"{self.calibration} is of pictures of {camera.picture_hw} px (height, width); those of "
                    f"{columns[name]!r} in {dataset.root} have {(shape[0], shape[1])}."
                )


def _existing(dataset: LeRobotDataset, robot: Robot) -> FactsTable | None:
    try:
        table = FactsTable.load(dataset.root)
    except DatasetNotFoundError:
        return None
    if table.robot != robot.name:
        raise DatasetError(
            f"{dataset.root / FACTS_PATH} is about robot {table.robot!r}, not {robot.name!r}; places cannot be added."
        )
    return table


def _located(
    facts: SceneFacts | None, gripper_m: np.ndarray, place: np.ndarray, camera: PinholeCamera, name: str
) -> SceneFacts:
    """A frame's facts with places in the picture of one camera; those of another camera are replaced."""
    known = facts or SceneFacts(targets=())
    same = known.camera in (None, name)

    def target(fact: TargetFacts) -> TargetFacts:
        at = np.full(2, np.nan) if fact.offset_m is None else camera.project((gripper_m + fact.offset_m)[None])[0]
        stored = fact.point_px if same and fact.offset_m is None else None
        return replace(fact, point_px=_point(at) or stored, box_px=fact.box_px if same else None)

    targets = tuple(map(target, known.targets))
    return replace(known, targets=targets, gripper_px=_point(place), trace_px=None, camera=name)


def _point(place: np.ndarray) -> tuple[float, float] | None:
    return None if np.isnan(place).any() else (float(place[0]), float(place[1]))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
