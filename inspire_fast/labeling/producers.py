"""The ways to a dataset's facts, each a set of options: gripper events, annotation files, InSpire's label files, replay.

A producer is opened on a dataset and then asked for one episode after the other; what it refuses is in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Episode
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.labeling.annotations import annotated_facts, read_annotations
from inspire_fast.labeling.demonstrations.replay import Recording, replay
from inspire_fast.labeling.grasp_events import SIGNALS, GripperSignal, load_signal
from inspire_fast.labeling.hindsight.label import HindsightOptions, hindsight
from inspire_fast.labeling.hindsight.manipulations import load_overrides, plan
from inspire_fast.labeling.object_info import ID_COLUMN, frame_id, libero_facts, off_the_body, real_robot_facts
from inspire_fast.labeling.row_digests import EpisodeRows
from inspire_fast.robots import Robot

Labelled = tuple[list[SceneFacts | None], dict[str, Any]]
Labeler = Callable[[Episode], Labelled]
States = Callable[[Episode], np.ndarray]
_REPLAY_TOLERANCE_M = 0.01


class Producer(Protocol):
    """Options of one way to facts."""

    @property
    def gripper(self) -> Path | None:
        """See `Hindsight`."""
        ...

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """What labels an episode: facts per frame (None: not labelled) and what to report. Raises `DatasetError`."""
        ...

    def inputs(self, dataset: LeRobotDataset, episode: Episode) -> Sequence[Path]:
        """The files, besides the dataset's and those named in the options, that an episode's facts are made from."""
        ...


@dataclass(frozen=True, kw_only=True)
class Hindsight:
    """Facts from gripper events and the instruction.

    Attributes:
        state_column: column with the gripper's position and opening.
        overrides: JSON file that says what instructions mean (see `manipulations.load_overrides`).
        closed_below: opening, as a fraction of the widest, below which the gripper counts as closed; None: the robot's own.
        near_m: points this close to the fingers lie in no certain direction and are left out (metres).
        end_is_release: an episode that ends with the gripper closed ends where the thing would be let go.
        end_is_contact: an episode that only handles something, without a grasp, ends in contact with it.
        gripper: JSON file that says where the gripper stands in the state (see `gripper.load_signal`); None: the robot's own.
    """

    state_column: str = "state"
    overrides: Path | None = None
    closed_below: float | None = None
    near_m: float = HindsightOptions.near_m
    end_is_release: bool = False
    end_is_contact: bool = False
    gripper: Path | None = None

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """See `Producer.open`."""
        signal = _signal(robot, self.gripper)
        if self.closed_below is not None:
            above = max(signal.open_above, min(0.99, self.closed_below + 0.03))
            signal = dataclasses.replace(signal, closed_below=self.closed_below, open_above=above)
        states = _states(dataset, self.state_column, robot)
        overrides = load_overrides(self.overrides) if self.overrides else None
        options = HindsightOptions(
            near_m=self.near_m, end_is_release=self.end_is_release, end_is_contact=self.end_is_contact
        )

        def label(episode: Episode) -> Labelled:
            instruction = dataset.task(episode.start)
            frames, report = hindsight(
                plan(instruction, overrides),
                states(episode),
                instruction=instruction,
                fps=dataset.fps,
                signal=signal,
                options=options,
            )
            return frames, asdict(report)

        return label

    def inputs(self, dataset: LeRobotDataset, episode: Episode) -> Sequence[Path]:
        """See `Producer.inputs`."""
        del dataset, episode
        return ()


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Facts from a file of JSON lines (format: `inspire_fast/labeling/annotations.py`).

    Attributes:
        file: the annotations.
        state_column: column with the gripper's position, needed where the file gives positions and not offsets.
        gripper: see `Hindsight`.
    """

    file: Path
    state_column: str = "state"
    gripper: Path | None = None

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """See `Producer.open`."""
        lines = read_annotations(self.file, dataset.meta, robot.name)
        signal = _signal(robot, self.gripper) if self.gripper or robot.name in SIGNALS else None
        states = None if signal is None else _states(dataset, self.state_column, robot)

        def label(episode: Episode) -> Labelled:
            own = None if signal is None or states is None else signal.positions_m(states(episode))
            try:
                frames = annotated_facts(lines.get(episode.index, []), episode.length, own)
            except DatasetError as error:
                raise DatasetError(f"{self.file}, {error}") from error
            return frames, {"lines": len(lines.get(episode.index, []))}

        return label

    def inputs(self, dataset: LeRobotDataset, episode: Episode) -> Sequence[Path]:
        """See `Producer.inputs`."""
        del dataset, episode
        return ()


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """Facts from InSpire's per-frame label files (see `inspire_fast/labeling/object_info.py`).

    Attributes:
        folder: holds `episode_<n>/anno_w_pos/<frame>.json`, or `<id>.json` for ids in the dataset's column `object_info`.
        state_column: of the real robot's layout, to notice labels of another episode.
        gripper: see `Hindsight`.
    """

    folder: Path
    state_column: str = "state"
    gripper: Path | None = None

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """See `Producer.open`."""
        if ID_COLUMN in dataset.features:
            rows = EpisodeRows(dataset, [ID_COLUMN])

            def by_id(episode: Episode) -> Labelled:
                instruction = dataset.task(episode.start)
                files = [self.folder / f"{frame_id(value)}.json" for value in rows(episode)[ID_COLUMN]]
                return [libero_facts(file, instruction) for file in files], {"refused": off_the_body(instruction)}

            return by_id
        states, unit = _states(dataset, self.state_column, robot), _signal(robot, self.gripper).metres_per_unit

        def by_frame(episode: Episode) -> Labelled:
            folder, instruction = self.folder / f"episode_{episode.index}" / "anno_w_pos", dataset.task(episode.start)
            found = len(list(folder.glob("*.json")))
            if found != episode.length:
                raise DatasetError(
                    f"{folder} has {found} label files; the dataset's episode has {episode.length} frames."
                )
            frames = [
                real_robot_facts(folder / f"{frame}.json", state, unit, instruction)
                for frame, state in enumerate(states(episode))
            ]
            return list(frames), {}

        return by_frame

    def inputs(self, dataset: LeRobotDataset, episode: Episode) -> Sequence[Path]:
        """See `Producer.inputs`."""
        if ID_COLUMN in dataset.features:
            ids = dataset.columns([ID_COLUMN])[ID_COLUMN][episode.start : episode.stop]
            return [self.folder / f"{frame_id(value)}.json" for value in ids]
        return sorted((self.folder / f"episode_{episode.index}" / "anno_w_pos").glob("*.json"))


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Facts from LIBERO's simulator, into which recorded states or actions are put (see `inspire_fast/labeling/demonstrations/replay.py`).

    Attributes:
        recordings: folder of `episode_<six digits>.npz`.
        state_column: the gripper's recorded positions, held against the replayed ones.
        gripper: see `Hindsight`.
    """

    recordings: Path
    state_column: str = "state"
    gripper: Path | None = None

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """See `Producer.open`."""
        signal, states = _signal(robot, self.gripper), _states(dataset, self.state_column, robot)
        scene: dict[tuple[str, int | str], LiberoEnvironment] = {}  # the one in use: each takes up to 2 GB

        def label(episode: Episode) -> Labelled:
            path = self.recordings / f"episode_{episode.index:06d}.npz"
            recording = Recording.load(path)
            if len(recording) != episode.length:
                raise DatasetError(
                    f"{path} has {len(recording)} steps; the dataset's episode has {episode.length} frames."
                )
            key = (recording.suite, recording.task)
            if key not in scene:
                for other in scene.values():
                    other.close()
                scene.clear()
                scene[key] = LiberoEnvironment(recording.suite, recording.task)
            _check_instruction(path, scene[key].prompt, dataset.task(episode.start))
            try:
                result = replay(scene[key], recording)
            except ValueError as error:
                raise DatasetError(f"{path}, {error}") from error
            away_m = np.linalg.norm(result.gripper_m - signal.positions_m(states(episode)), axis=1)
            if away_m.max() > _REPLAY_TOLERANCE_M:
                frame = int(np.argmax(away_m > _REPLAY_TOLERANCE_M))
                raise DatasetError(
                    f"{path}, frame {frame}: the replayed gripper is {away_m[frame]:.3f} m from where the dataset's was. The "
                    "recording is of another episode, or frames were left out of one of the two."
                )
            return result.facts, {"success": result.success, "gripper_off_m": round(float(away_m.max()), 5)}

        return label

    def inputs(self, dataset: LeRobotDataset, episode: Episode) -> Sequence[Path]:
        """See `Producer.inputs`."""
        del dataset
        return (self.recordings / f"episode_{episode.index:06d}.npz",)


def _check_instruction(path: Path, ours: str, theirs: str) -> None:
    if ours.lower() != theirs.lower():
        raise DatasetError(f"{path} is of the task {ours!r}; the dataset's episode says {theirs!r}.")


def _signal(robot: Robot, given: Path | None) -> GripperSignal:
    if given is not None:
        signal = load_signal(given)
        if not all(0 <= dimension < robot.state_dim for dimension in (*signal.position, *signal.opening)):
            raise DatasetError(f"{given}: robot {robot.name!r} has the state dimensions 0..{robot.state_dim - 1}.")
        return signal
    if robot.name not in SIGNALS:
        raise DatasetError(
            f"Which dimensions of {robot.name!r}'s state {robot.state_names} are its gripper's position and opening is not "
            f"known; it is for {sorted(SIGNALS)}. Write it to a JSON file and pass that as `gripper` (`--gripper FILE`; format: "
            "inspire_fast.labeling.grasp_events.load_signal)."
        )
    return SIGNALS[robot.name]


def _states(dataset: LeRobotDataset, column: str, robot: Robot) -> States:
    """An episode's states `[n, s]`."""
    shape = dataset.feature(column).shape
    if shape != (robot.state_dim,):
        raise DatasetError(
            f"{dataset.root}: column {column!r} has shape {shape}; robot {robot.name!r} has the state {robot.state_names}."
        )
    rows = EpisodeRows(dataset, [column])
    return lambda episode: rows(episode)[column]
