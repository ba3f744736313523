"""Facts by replaying what was recorded in LIBERO: its simulator states, or its actions from the first state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
import xml.etree.ElementTree as ET
import zipfile
import zlib

import numpy as np

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.envs.libero.environment import LiberoEnvironment

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
