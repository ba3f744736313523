"""Facts by replaying what was recorded in LIBERO: its simulator states, or its actions from the first state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.labeling.producer import Labeler, Labelled, Producer, episode_states, gripper_signal
from inspire_fast.robots import Robot

_REPLAY_TOLERANCE_M = 0.01
Fixtures = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What an episode's `.npz` holds. Row i is the instant before action i.

    Attributes:
        suite, task: the LIBERO task; number or name.
        states: float64 `[n, time + qpos + qvel]`; with `actions`, only the first row is needed.
        actions: float32 `[n, 7]`, or None where all states are there.
        model_xml: the scene as recorded (LIBERO's `model_file`), from which the fixtures' poses are taken; may be empty.
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
        """Reads `episode_000017.npz` with the arrays `suite`, `task`, `states`, and maybe `actions`, `model_xml`.

        Raises:
            DatasetError: missing, damaged, or without one of them; names the file.
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
    """What a replay shows: facts and gripper positions `[n, 3]` before each action, and the verdict at the end."""

    facts: list[SceneFacts | None]
    gripper_m: np.ndarray
    success: bool


def replay(environment: LiberoEnvironment, recording: Recording) -> Replayed:
    """Goes through a recording in its scene.

    Raises:
        ValueError: the states are of another scene, or one holds NaN; names the frame.
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
        facts.append(environment.facts())
        gripper.append(environment.gripper_m())
        if recording.actions is not None:
            environment.step(recording.actions[frame])
    return Replayed(facts=facts, gripper_m=np.array(gripper), success=environment.success)


def fixture_poses(model_xml: str) -> Fixtures:
    """Root bodies without a free joint -> position `[3]` and quaternion `[4]` (w x y z), from a scene's XML.

    Raises:
        ValueError: no XML of a scene.
    """
    try:
        world = ET.fromstring(model_xml).find("worldbody")
    except ET.ParseError as error:
        raise ValueError(f"The recorded model_xml cannot be read: {error}") from error
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


@dataclass(frozen=True, kw_only=True)
class Replay(Producer):
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
        """Replays each episode; keeps one simulator open, for the last task."""
        signal, states = gripper_signal(robot, self.gripper), episode_states(dataset, self.state_column, robot)
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
        """The recording of the episode."""
        del dataset
        return (self.recordings / f"episode_{episode.index:06d}.npz",)


def _check_instruction(path: Path, ours: str, theirs: str) -> None:
    if ours.lower() != theirs.lower():
        raise DatasetError(f"{path} is of the task {ours!r}; the dataset's episode says {theirs!r}.")
