"""Conversion of recorded demonstrations to a LeRobot v3.0 dataset with facts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from inspire_fast.data.facts import write_facts
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.labeling.demonstrations.episode import RecordedEpisode, load_episode
from inspire_fast.labeling.producer import frame_description
from inspire_fast.robots import Robot


def write_dataset(paths: Sequence[Path], root: Path, *, robot: Robot, overwrite: bool = False) -> None:
    """Writes every control step as a row, with the newest image at that step and its age (`image_age_s`).

    Raises:
        FileExistsError: `root` is not empty and `overwrite` is off.
    """
    first = load_episode(paths[0])
    to_native = robot.columns
    cameras = [column for column, key in to_native.items() if key in robot.cameras]
    features = {
        **{c: {"dtype": "image", "shape": first.images[to_native[c]].shape[1:]} for c in cameras},
        "state": {"dtype": "float32", "shape": (robot.state_dim,), "names": list(robot.state_names)},
        "actions": {"dtype": "float32", "shape": (robot.action_dim,), "names": list(robot.action_names)},
        "image_age_s": {"dtype": "float32", "shape": (1,)},
    }
    facts = {}
    with DatasetWriter(
        root, fps=round(robot.control_hz), robot_type=robot.name, features=features, overwrite=overwrite
    ) as writer:
        for number, path in enumerate(tqdm(paths, desc="dataset", unit="ep", disable=None)):
            episode = load_episode(path)
            writer.add_episode(_columns(episode, cameras, robot), task=episode.prompt)
            facts[number] = [episode.facts(step) for step in range(len(episode))]
    write_facts(root, facts, robot=robot.name, frame_description=frame_description(robot), producer="simulator")


def _columns(episode: RecordedEpisode, cameras: Sequence[str], robot: Robot) -> dict[str, np.ndarray]:
    images = {c: episode.images[robot.columns[c]][episode.image_index] for c in cameras}
    age = (episode.image_age / robot.control_hz).astype(np.float32)[:, None]
    return {**images, "state": episode.state, "actions": episode.actions, "image_age_s": age}
