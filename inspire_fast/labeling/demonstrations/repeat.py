"""Repetition of recorded demonstrations: their actions are executed from the same reset, without rendering."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from dataclasses import dataclass
from itertools import groupby
import json
from pathlib import Path

import numpy as np

from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.labeling.demonstrations.episode import RecordedEpisode, load_episode
from inspire_fast.labeling.demonstrations.record import SPEC_FILE


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """A demonstration and its repetition.

    Attributes:
        path: the recording.
        success: the goal held again after the last action.
        apart_m: largest distance of the gripper from its recorded position.
    """

    path: Path
    success: bool
    apart_m: float


def repeat(environment: LiberoEnvironment, episode: RecordedEpisode) -> tuple[bool, float]:
    """Resets to the recording's initial state and executes its actions; returns `success` and `apart_m`."""
    environment.reset(episode.episode)
    apart_m = 0.0
    for state, action in zip(episode.state, episode.actions, strict=True):
        apart_m = max(apart_m, float(np.linalg.norm(environment.gripper_m() - state[:3])))
        environment.step(action)
    return environment.success, apart_m


def repeat_all(folder: Path) -> Iterator[Repeated]:
    """Repeats every demonstration of `record` in a folder, task by task, with the seed of its spec.

    Raises:
        ValueError: the folder has no recording, or one of another version.
    """
    if not (folder / SPEC_FILE).exists():
        raise ValueError(
            f"{folder} holds no recording ({SPEC_FILE} is missing); name a recording's `.episodes` folder."
        )
    spec = json.loads((folder / SPEC_FILE).read_text(encoding="utf-8"))
    settings = LiberoSettings(seed=spec["seed"], initial_states=spec["initial_states"])
    episodes = ((path, load_episode(path)) for path in sorted(folder.glob("*.npz")))
    for (suite, task), group in groupby(episodes, key=lambda pair: (pair[1].suite, pair[1].task)):
        with contextlib.closing(LiberoEnvironment(suite, task, settings)) as environment:
            for path, episode in group:
                success, apart_m = repeat(environment, episode)
                yield Repeated(path=path, success=success, apart_m=apart_m)
