"""Rollouts recorded on a robot workstation (`robots/control/rollout.py`) as episodes of a LeRobot dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inspire_fast.data.converters.base import Episode, Pending
from inspire_fast.data.errors import DatasetError
from inspire_fast.robots.control.rollout import SUFFIX, read_rollout
from inspire_fast.robots.registry import ROBOTS
from inspire_fast.robots.spec import Robot


def rollout_header(folder: Path) -> dict[str, Any]:
    """Robot and rate of the rollouts in a folder.

    Raises:
        DatasetError: there are none, or of several robots or rates.
    """
    headers = [next(read_rollout(path)) for path in _files(folder)]
    kinds = {(header["robot"], header["control_hz"]) for header in headers}
    if len(kinds) != 1:
        raise DatasetError(
            f"{folder} must hold rollouts (*{SUFFIX}) of one robot at one rate; found {sorted(kinds) or 'none'}."
        )
    return headers[0]


def rollout_episodes(folder: Path, *, only_success: bool = False) -> Iterator[Pending]:
    """The rollouts of a folder, by name, with the robot's columns, and three of their own.

    `held` is true where the robot held; `corrected` where a person decided; `success` is the episode's outcome, false
    for one that was killed.

    Args:
        folder: of the files.
        only_success: leave out all other episodes.
    """
    for path in _files(folder):
        if not only_success or _end(list(read_rollout(path))).get("success"):
            yield Pending(name=path.name, read=partial(read_episode, path))


def read_episode(path: Path) -> Episode:
    """One rollout.

    Raises:
        ValueError: no steps, or steps that lack a key of the robot.
    """
    header, *rows = read_rollout(path)
    robot, steps, end = ROBOTS[header["robot"]], [row for row in rows if "sent" in row], _end(rows)
    if not steps:
        raise ValueError(f"{path.name} has no steps.")
    columns = {column: _column(robot, key, steps) for column, key in robot.columns.items()}
    extra = set(steps[0]["values"]) - set(robot.state_keys)
    columns |= {name: np.array([step["values"][name] for step in steps], np.float32) for name in sorted(extra)}
    columns[robot.action_column] = np.array([step["sent"] for step in steps], np.float32)
    columns |= {name: np.array([step[name] for step in steps], bool) for name in ("held", "corrected")}
    columns["success"] = np.full(len(steps), bool(end.get("success", False)))
    outcome = {"stopped": end.get("stopped", "killed"), "reason": end.get("reason", "")}
    return Episode(columns=columns, task=header["prompt"], notes=outcome)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def _end(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return rows[-1] if rows and "stopped" in rows[-1] else {}


def _column(robot: Robot, key: str, steps: Sequence[dict[str, Any]]) -> np.ndarray:
    if key in robot.cameras:
        if any(key not in step["images"] for step in steps):
            raise ValueError(f"Some steps have no picture of {key!r}.")
        return np.stack([np.asarray(Image.open(io.BytesIO(step["images"][key])).convert("RGB")) for step in steps])
    return np.array([step["values"][key] for step in steps], np.float32)
