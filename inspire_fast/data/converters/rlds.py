"""Conversion of RLDS datasets (Open X-Embodiment, DROID, LIBERO's) to LeRobot datasets, through TensorFlow Datasets.

TensorFlow is not a dependency of this package: install `tensorflow-cpu` and `tensorflow-datasets` for conversions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.registry import Registry
from inspire_fast.data.converters.base import Episode, Pending
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.robots import ROBOTS, Robot


@dataclass(frozen=True, kw_only=True)
class RldsLayout:
    """Paths of a step's parts. A path goes through nested dictionaries: `observation/image`.

    Attributes:
        robot: registry name of the embodiment.
        fps: control rate; RLDS does not store it.
        columns: LeRobot column -> its paths; several are concatenated.
        optional: columns likewise, of datasets that have them: what policies do not see.
        instruction: paths; the first that holds text counts.
        keep: path in the episode -> text that it must contain; other episodes are left out.
    """

    robot: str
    fps: int
    columns: Mapping[str, Sequence[str]]
    optional: Mapping[str, Sequence[str]] = field(default_factory=dict)
    instruction: Sequence[str] = ("language_instruction",)
    keep: Mapping[str, str] = field(default_factory=dict)


def _observations(robot: Robot) -> dict[str, Sequence[str]]:
    """The robot's columns, where RLDS has them under its native keys."""
    return {column: (key,) for column, key in robot.columns.items()}


# openpi's training data of DROID policies: joint velocities, and episodes that were marked successful.
DROID = RldsLayout(
    robot="droid",
    fps=15,
    columns={
        **_observations(ROBOTS["droid"]),
        "exterior_image_2_left": ("observation/exterior_image_2_left",),
        "actions": ("action_dict/joint_velocity", "action_dict/gripper_position"),
    },
    optional={"cartesian_position": ("observation/cartesian_position",)},  # labels by hindsight need it
    instruction=("language_instruction", "language_instruction_2", "language_instruction_3"),
    keep={"episode_metadata/file_path": "success"},
)
# OpenVLA's LIBERO without no-ops. LIBERO's control rate is 20 Hz; openpi's conversion writes 10, which nothing reads.
LIBERO = RldsLayout(robot="libero", fps=20, columns={**_observations(ROBOTS["libero"]), "actions": ("action",)})
LAYOUTS: Registry[RldsLayout] = Registry("RLDS layout", {"droid": DROID, "libero": LIBERO})


def rlds_episodes(folder: Path, layout: RldsLayout, *, split: str = "train") -> Iterator[Pending]:
    """The episodes of a prepared dataset, in the order of its files; those that `layout.keep` refuses are left out.

    Args:
        folder: with `dataset_info.json` (`<name>/<version>`), or its parent if that has one version only.
        layout: paths of a step's parts.
        split: of TensorFlow Datasets, e.g. `train` or `train[:100]`.

    Raises:
        DatasetNotFoundError: no prepared dataset there.
        ImportError: TensorFlow Datasets is not installed; the message says how to install it.
    """
    try:
        import tensorflow_datasets as tfds  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "Reading RLDS needs TensorFlow Datasets: `uv pip install tensorflow-cpu tensorflow-datasets`."
        ) from error
    builder = tfds.builder_from_directory(str(_prepared(folder)))
    read = tfds.ReadConfig(interleave_cycle_length=1)  # in the order of the files, the same every time
    for number, episode in enumerate(builder.as_dataset(split=split, shuffle_files=False, read_config=read)):
        plain = {key: value for key, value in episode.items() if key != "steps"}
        about = tfds.as_numpy(plain)
        try:
            wanted = all(text in _text(_get(about, path)) for path, text in layout.keep.items())
        except KeyError as error:
            raise DatasetError(f"{folder}, episode {number} of {split}: {error.args[0]}") from error
        if wanted:
            steps = partial(tfds.as_numpy, episode["steps"])
            yield Pending(name=f"{split} {number}", read=partial(_read, steps, layout))


def episode_from_steps(steps: Sequence[Mapping[str, Any]], layout: RldsLayout) -> Episode:
    """An episode from its steps, given as numpy arrays.

    Raises:
        DatasetError: no steps, a missing path, or no instruction; names the step.
    """
    if not steps:
        raise DatasetError("the episode has no steps.")
    columns = {}
    there = {name: paths for name, paths in layout.optional.items() if all(_has(steps[0], path) for path in paths)}
    for name, paths in {**layout.columns, **there}.items():
        rows = [_values(step, paths, number) for number, step in enumerate(steps)]
        if len({row.shape for row in rows}) > 1:
            raise DatasetError(f"steps differ in {name!r}: {sorted({row.shape for row in rows})}.")
        columns[name] = np.stack(rows)
    tasks = [_instruction(step, layout.instruction) for step in steps]
    without = [number for number, task in enumerate(tasks) if not task.strip()]
    if without:
        raise DatasetError(f"step {without[0]} has no instruction in {list(layout.instruction)}.")
    if len(set(tasks)) > 1:
        raise DatasetError(f"the instruction changes within the episode: {sorted(set(tasks))}.")
    return Episode(columns=columns, task=tasks[0], notes={})


def _read(steps: Any, layout: RldsLayout) -> Episode:
    return episode_from_steps(list(steps()), layout)


def _prepared(folder: Path) -> Path:
    if (folder / "dataset_info.json").is_file():
        return folder
    versions = sorted(path.parent for path in folder.glob("*/dataset_info.json"))
    if len(versions) != 1:
        raise DatasetNotFoundError(
            f"No RLDS dataset in {folder}: looked for dataset_info.json there and one level below, found "
            f"{[path.name for path in versions]}. Name the version's folder, e.g. droid_100/1.0.0."
        )
    return versions[0]


def _values(step: Mapping[str, Any], paths: Sequence[str], number: int) -> np.ndarray:
    try:
        parts = [np.asarray(_get(step, path)) for path in paths]
    except KeyError as error:
        raise DatasetError(f"step {number}: {error.args[0]}") from error
    if parts[0].ndim == 3 and len(parts) == 1:
        return parts[0]
    row = np.concatenate([np.atleast_1d(part) for part in parts])
    return row.astype(np.float32) if np.issubdtype(row.dtype, np.floating) else row


def _instruction(step: Mapping[str, Any], paths: Sequence[str]) -> str:
    for path in paths:
        try:
            text = _text(_get(step, path)).strip()
        except KeyError:
            continue
        if text:
            return text
    return ""


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _has(tree: Mapping[str, Any], path: str) -> bool:
    try:
        _get(tree, path)
    except KeyError:
        return False
    return True


def _get(tree: Mapping[str, Any], path: str) -> Any:
    value: Any = tree
    for part in path.split("/"):
        if not isinstance(value, Mapping) or part not in value:
            there = sorted(value) if isinstance(value, Mapping) else type(value).__name__
            raise KeyError(f"there is no {path!r}: {part!r} is not among {there}.")
        value = value[part]
    return value
