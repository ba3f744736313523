"""Facts from replaying LIBERO recordings: their simulator states, or their actions from the first state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
import xml.etree.ElementTree as ET
import zipfile
import zlib

import numpy as np

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Episode
from inspire_fast.data.picture_facts import moved, turned
from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.scene_cache import SceneCache
from inspire_fast.labeling.gripper_states import gripper_states
from inspire_fast.labeling.producer import Labeler, Labelled, Part, Producer
from inspire_fast.labeling.row_digests import EpisodeRows
from inspire_fast.labeling.traces import gripper_events, with_traces
from inspire_fast.robots import Robot

_REPLAY_TOLERANCE_M = 0.01
AGE_COLUMN, _FRESH_S = "image_age_s", 1e-4
Fixtures = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Replay(Producer):
    """Facts from LIBERO's simulator, which replays recorded states or actions.

    Attributes:
        recordings: folder of `episode_<six digits>.npz` (see `Recording`).
        state_column: column with the gripper's recorded positions, which are compared with the replayed ones; None: the
            robot's.
        gripper: JSON file with the robot's gripper signal (see `grasp_events.load_signal`); None: the robot's own.
        boxes: also label boxes of what is visible of the targets, and points on it, at the size of the dataset's
            pictures. It renders every frame whose picture is not older than the row (`image_age_s`).
        traces: also label the gripper's coming path.
    """

    recordings: Path
    state_column: str | None = None
    gripper: Path | None = None
    boxes: bool = False
    traces: bool = True

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """Replays each episode; keeps one simulator open, for the last task."""
        signal, states = gripper_states(dataset, robot, column=self.state_column, given=self.gripper)
        picture_hw = _picture_hw(dataset, robot)
        scenes = SceneCache(LiberoSettings(camera_hw=picture_hw))
        fresh = _fresh_pictures(dataset)
        turn = turned("rotated_180", robot.image_orientation)

        def label(part: Part) -> Labelled:
            episode = part.episode
            (path,) = self.inputs(dataset, episode)
            recording = Recording.load(path)
            if len(recording) != episode.length:
                raise DatasetError(
                    f"{path} has {len(recording)} steps; the dataset's episode has {episode.length} frames."
                )
            environment = scenes.get(recording.suite, recording.task)
            _check_instruction(path, environment.prompt, part.instruction)
            try:
                result = replay(environment, recording, boxes_at=fresh(episode) if self.boxes else ())
            except ValueError as error:
                raise DatasetError(f"{path}, {error}") from error
            recorded = states(episode)
            off_m = _check_gripper(path, result.gripper_m, signal.positions_m(recorded))
            facts = result.facts
            if self.traces:
                events = gripper_events(signal.openings(recorded), dataset.meta.fps, signal)
                facts = with_traces(facts, events, aspect=picture_hw[1] / picture_hw[0])
            facts = [scene and moved(scene, turn) for scene in facts]
            return facts[part.frames], {"success": result.success, "gripper_off_m": round(off_m, 5)}

        return Labeler(label=label, close=scenes.close)

    def inputs(self, dataset: LeRobotDataset, episode: Episode) -> Sequence[Path]:
        """The recording of the episode."""
        del dataset
        return (self.recordings / f"episode_{episode.index:06d}.npz",)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recorded episode. Row i is the instant before action i.

    Attributes:
        suite, task: the LIBERO task, by number or name.
        states: float64 `[n, time + qpos + qvel]`; with `actions`, only the first row is needed.
        actions: float32 `[n, 7]`, or None if there are all states.
        model_xml: the recorded scene (LIBERO's `model_file`), which has the poses of fixtures; may be empty.
    """

    suite: str
    task: int | str
    states: np.ndarray
    actions: np.ndarray | None = None
    model_xml: str = ""

    def __len__(self) -> int:
        return len(self.states) if self.actions is None else len(self.actions)

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Reads an `.npz` with the arrays `suite`, `task`, `states`, and optionally `actions`, `model_xml`.

        Raises:
            DatasetError: the file or one of the arrays is missing or damaged; names the file.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
            task = arrays["task"].item()
            return cls(
                suite=str(arrays["suite"]),
                task=task if isinstance(task, int) else str(task),
                states=np.atleast_2d(arrays["states"]),
                actions=arrays.get("actions"),
                model_xml=str(arrays.get("model_xml", "")),
            )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DatasetError(f"{path} is no recording with the arrays suite, task, states: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """Facts and gripper positions `[n, 3]` before each action of a replay, and the verdict at its end."""

    facts: list[SceneFacts | None]
    gripper_m: np.ndarray
    success: bool


def replay(environment: LiberoEnvironment, recording: Recording, *, boxes_at: Collection[int] = ()) -> Replayed:
    """Replays a recording in its scene.

    Args:
        environment: of its task.
        recording: see `Recording`.
        boxes_at: frames whose facts have boxes; each is rendered.

    Raises:
        ValueError: the states are of another scene, or contain NaN; names the frame.
    """
    environment.reset(0)
    fixtures = fixture_poses(recording.model_xml) if recording.model_xml else {}
    facts: list[SceneFacts | None] = []
    gripper: list[np.ndarray] = []
    for frame in range(len(recording)):
        if recording.actions is None or frame == 0:
            try:
                environment.restore(recording.states[frame], fixtures)
            except ValueError as error:
                raise ValueError(f"frame {frame}: {error}") from error
        facts.append(environment.facts(boxes=frame in boxes_at))
        gripper.append(environment.gripper_m())
        if recording.actions is not None:
            environment.step(recording.actions[frame])
    return Replayed(facts=facts, gripper_m=np.array(gripper), success=environment.success)


def fixture_poses(model_xml: str) -> Fixtures:
    """Poses of fixtures in a scene's XML: root body without a free joint -> position `[3]`, quaternion `[4]` (w x y z).

    Raises:
        ValueError: not the XML of a scene.
    """
    try:
        world = ET.fromstring(model_xml).find("worldbody")
    except ET.ParseError as error:
        raise ValueError(f"The recorded model_xml is not valid XML: {error}") from error
    if world is None:
        raise ValueError("The recorded model_xml has no worldbody.")
    poses = {}
    for body in world.findall("body"):
        name = body.get("name", "")
        moves = body.find("freejoint") is not None or any(j.get("type") == "free" for j in body.findall("joint"))
        if name.endswith("_main") and not moves and "pos" in body.attrib:
            poses[name] = (_numbers(body.get("pos", "0 0 0")), _numbers(body.get("quat", "1 0 0 0")))
    return poses


def _numbers(text: str) -> np.ndarray:
    return np.array([float(number) for number in text.split()])


def _picture_hw(dataset: LeRobotDataset, robot: Robot) -> tuple[int, int]:
    """Height and width of the pictures of the robot's first camera; those of `LiberoSettings` without pictures."""
    first = next(iter(robot.cameras))
    column = next(column for column, key in robot.columns.items() if key == first)
    if column not in dataset.features:
        return LiberoSettings().camera_hw
    shape = dataset.feature(column).shape
    return shape[0], shape[1]


def _fresh_pictures(dataset: LeRobotDataset) -> Callable[[Episode], Collection[int]]:
    """Episode -> its frames whose pictures were taken at that frame."""
    if AGE_COLUMN not in dataset.features:
        return lambda episode: range(episode.length)
    rows = EpisodeRows(dataset, [AGE_COLUMN])
    return lambda episode: frozenset(np.flatnonzero(rows(episode)[AGE_COLUMN].ravel() <= _FRESH_S).tolist())


def _check_instruction(path: Path, ours: str, theirs: str) -> None:
    if ours.lower() != theirs.lower():
        raise DatasetError(f"{path} is of the task {ours!r}; the dataset's episode says {theirs!r}.")


def _check_gripper(path: Path, replayed_m: np.ndarray, recorded_m: np.ndarray) -> float:
    """The largest distance between replayed and recorded gripper positions `[n, 3]`, after a check that it is small."""
    away_m = np.linalg.norm(replayed_m - recorded_m, axis=1)
    if away_m.max() > _REPLAY_TOLERANCE_M:
        frame = int(np.argmax(away_m > _REPLAY_TOLERANCE_M))
        raise DatasetError(
            f"{path}, frame {frame}: the replayed gripper is {away_m[frame]:.3f} m from the dataset's. The recording "
            "is of another episode, or frames were left out of one of the two."
        )
    return float(away_m.max())
