"""Conversion of LIBERO's published demonstrations (HDF5) to a LeRobot dataset: replayed, rendered again, labelled.

A file holds one task: `data` with the attributes `bddl_file_name` and `problem_info`, and `data/demo_0`, `demo_1`, ...,
each with `states [n, time + qpos + qvel]`, `actions [n, 7]`, the attribute `model_file` (the scene with the poses of
fixtures, which are not part of a state) and `obs/{agentview_rgb, eye_in_hand_rgb, ee_pos, ee_ori, gripper_states}` at
128 px. Row i is the instant before action i.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from inspire_fast.core.ranges import Count, Natural, require_ranges
from inspire_fast.core.registry import require_choice
from inspire_fast.core.types import SceneFacts
from inspire_fast.data.converters.base import (
    Conversion,
    Description,
    Episode,
    Pending,
    Storage,
    convert,
    recording_path,
)
from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.facts import write_facts
from inspire_fast.envs import SUITES, LiberoEnvironment, LiberoSettings, tasks
from inspire_fast.envs.libero.environment import SETTLE_ACTION
from inspire_fast.envs.libero.scene_cache import SceneCache
from inspire_fast.envs.libero.suites import Task
from inspire_fast.labeling.demonstrations.replay import fixture_poses
from inspire_fast.labeling.producer import frame_description
from inspire_fast.labeling.traces import gripper_events, with_traces
from inspire_fast.robots import ROBOTS

Pictures = Literal["replay", "states", "recorded"]
_STILL = 1e-4  # OpenVLA's threshold for the norm of a motion, in the actions' own unit
_COLUMNS = {"observation/image": "image", "observation/wrist_image": "wrist_image"}


@dataclass(frozen=True, kw_only=True)
class Hdf5Options:
    """Options of the conversion.

    Attributes:
        pictures: source of the images. `replay` executes the actions from the first state (as OpenVLA does: every
            result solves the task in the present simulator); `states` puts the simulator into every recorded state;
            `recorded` takes the file's own 128 px images and needs no simulator, but gives no labels.
        camera_px: size of rendered images.
        render_every: render every k-th step; the others repeat the image and have its age (`image_age_s`).
        drop_no_ops: leave out steps that neither move nor change the gripper's command (OpenVLA's rule).
        settle_steps: steps without motion between the first state and the first action of a replay (OpenVLA: ten).
        only_successful: refuse demonstrations whose goal does not hold at the end.
        boxes: also label boxes of what is visible of the targets, and points on it; renders once more per kept image.
        keep_states: write the simulator's state of every row to `recordings/`, for labelling again (see `Replay`).
    """

    pictures: Pictures = "replay"
    camera_px: Count = 256
    render_every: Count = 1
    drop_no_ops: bool = True
    settle_steps: Natural = 10
    only_successful: bool = True
    boxes: bool = False
    keep_states: bool = True

    def __post_init__(self) -> None:
        require_ranges(self)
        require_choice("pictures", self.pictures, Pictures)


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """One demonstration as recorded; see the module's docstring.

    Attributes:
        task: the demonstrated task.
        states: float64 `[n, time + qpos + qvel]`.
        actions: float32 `[n, 7]`.
        model_xml: the scene; may be empty.
        images: native key -> uint8 `[n, h, w, 3]`, turned by 180 degrees as in openpi; may be empty.
        proprioception: float32 `[n, 8]`, the state of robot `libero`, or None.
    """

    task: Task
    states: np.ndarray
    actions: np.ndarray
    model_xml: str
    images: Mapping[str, np.ndarray]
    proprioception: np.ndarray | None


class _Row(NamedTuple):
    """One step of a replay, before its action."""

    images: Mapping[str, np.ndarray]
    state: np.ndarray
    facts: SceneFacts | None
    simulator: np.ndarray


def kept_steps(actions: np.ndarray) -> np.ndarray:
    """Steps that do something, int `[m]` of `[n, 7]`: a motion, or another gripper command than in the last such step.

    motion    0  0  1  0  0  1
    gripper  -1 -1 -1 -1  1  1
    kept            2     4  5
    """
    kept: list[int] = []
    for step, action in enumerate(actions):
        moves = float(np.linalg.norm(action[:-1])) >= _STILL
        if moves or (kept and action[-1] != actions[kept[-1], -1]):
            kept.append(step)
    return np.array(kept, dtype=int)


def convert_hdf5(
    files: Sequence[Path], root: Path, *, options: Hdf5Options | None = None, storage: Storage | None = None
) -> Conversion:
    """Writes the demonstrations of all files as one dataset, with facts unless the images are `recorded`.

    Raises:
        DatasetError: a demonstration is damaged, or refused as unsolved, and bad ones are not skipped.
        ImportError: h5py or the simulator is missing; says how to get it.
    """
    robot = ROBOTS["libero"]
    names = {"state": robot.state_names, "actions": robot.action_names}
    about = Description(fps=round(robot.control_hz), robot_type=robot.name, names=names)
    with Converter(options or Hdf5Options()) as converter:
        return convert(converter.episodes(files), root, about, storage=storage, done=converter.write_labels)


class Converter:
    """Reads demonstrations and replays them as its options say; one simulator is open at a time.

    Args:
        options: see `Hdf5Options`.
        environment: an open one, used for its own task; stays open.
    """

    def __init__(self, options: Hdf5Options, environment: LiberoEnvironment | None = None) -> None:
        size = options.camera_px
        self._options, self._scenes = options, SceneCache(LiberoSettings(camera_hw=(size, size)), environment)
        self._facts: dict[str, list[SceneFacts | None]] = {}
        self._states: dict[str, Mapping[str, Any]] = {}

    def __enter__(self) -> Converter:
        return self

    def __exit__(self, *_: object) -> None:
        self._scenes.close()

    def episodes(self, files: Sequence[Path]) -> Iterator[Pending]:
        """Demonstrations, file by file, in order of number; named by file, or by path if files share a name."""
        shared = Counter(path.name for path in files)
        for path in files:
            for name in demonstration_names(path):
                label = f"{path.name if shared[path.name] == 1 else path}/{name}"
                yield Pending(name=label, read=partial(self._episode, label, path, name))

    def write_labels(self, root: Path, names: Sequence[str]) -> None:
        """Writes facts and recordings of the episodes in the dataset."""
        robot = ROBOTS["libero"]
        facts = {number: self._facts[name] for number, name in enumerate(names) if name in self._facts}
        if any(scene is not None for frames in facts.values() for scene in frames):
            description = frame_description(robot)
            write_facts(root, facts, robot=robot.name, frame_description=description, producer="simulator")
        for number, name in enumerate(names):
            if name in self._states:
                path = recording_path(root, number)
                path.parent.mkdir(exist_ok=True)
                np.savez_compressed(path, **self._states[name])

    def _episode(self, label: str, path: Path, name: str) -> Episode:
        demo = read_demonstration(path, name, images=self._options.pictures == "recorded")
        kept = kept_steps(demo.actions) if self._options.drop_no_ops else np.arange(len(demo.actions))
        if not len(kept):
            raise DatasetError(f"{path}, {name}: every one of its {len(demo.actions)} steps is a no-op.")
        notes = {"suite": demo.task.suite, "task": demo.task.name, "steps_left_out": len(demo.actions) - len(kept)}
        if self._options.pictures == "recorded":
            if demo.proprioception is None:
                raise DatasetError(f"{path}, {name} holds no images (`obs`); render them with pictures='replay'.")
            columns = {column: demo.images[key][kept] for key, column in _COLUMNS.items()}
            columns |= {"state": demo.proprioception[kept], "actions": demo.actions[kept]}
            return Episode(columns=columns, task=demo.task.prompt, notes=notes)
        environment = self._scenes.get(demo.task.suite, demo.task.index)
        rows = self._replayed(environment, demo, kept)
        if self._options.only_successful and not environment.success:
            raise DatasetError(f"{path}, {name}: at its end the task is not solved ({self._options.pictures}).")
        signal, states = ROBOTS["libero"].gripper, np.stack([row.state for row in rows])
        assert signal is not None
        events = gripper_events(signal.openings(states), ROBOTS["libero"].control_hz, signal)
        self._facts[label] = with_traces([row.facts for row in rows], events)
        if self._options.keep_states:
            self._states[label] = {
                "suite": demo.task.suite,
                "task": demo.task.name,
                "states": np.array([row.simulator for row in rows]),
                "model_xml": demo.model_xml,
            }
        return Episode(
            columns=self._columns(rows, demo.actions[kept]),
            task=environment.prompt,
            notes={**notes, "success": environment.success, "unlabelled": environment.unlabelled},
        )

    def _replayed(self, environment: LiberoEnvironment, demo: Demonstration, kept: np.ndarray) -> list[_Row]:
        fixtures = fixture_poses(demo.model_xml) if demo.model_xml else {}
        environment.reset(0)
        environment.restore(demo.states[0], fixtures)
        rows: list[_Row] = []
        images: Mapping[str, np.ndarray] = {}
        if self._options.pictures == "replay":
            for _ in range(self._options.settle_steps):
                environment.step(SETTLE_ACTION)
        for number, step in enumerate(kept):
            if self._options.pictures == "states":
                environment.restore(demo.states[step], fixtures)
            seen = number % self._options.render_every == 0
            images = environment.observe() if seen else images
            facts = environment.facts(boxes=seen and self._options.boxes)
            rows.append(_Row(images, environment.state(), facts, environment.simulator_state()))
            if self._options.pictures == "replay" or step == kept[-1]:
                environment.step(demo.actions[step])
        return rows

    def _columns(self, rows: Sequence[_Row], actions: np.ndarray) -> dict[str, np.ndarray]:
        columns = {column: np.stack([row.images[key] for row in rows]) for key, column in _COLUMNS.items()}
        columns |= {"state": np.stack([row.state for row in rows]), "actions": actions}
        if self._options.render_every > 1:
            age = np.arange(len(actions)) % self._options.render_every
            columns["image_age_s"] = (age / ROBOTS["libero"].control_hz).astype(np.float32)
        return columns


def demonstration_names(path: Path) -> list[str]:
    """Names `demo_0`, `demo_1`, ... in a file, in order of number.

    Raises:
        DatasetNotFoundError: no such file.
        DatasetError: damaged, or without demonstrations.
    """
    with _open(path) as file:
        if "data" not in file:
            raise DatasetError(f"{path} has no group `data`; it has {sorted(file)}.")
        names = [name for name in file["data"] if name.removeprefix("demo_").isdigit()]
    return sorted(names, key=lambda name: int(name.removeprefix("demo_")))


def read_demonstration(path: Path, name: str, *, images: bool = False) -> Demonstration:
    """Reads one demonstration, on request with its own images.

    Raises:
        DatasetError: missing data, different lengths, NaN, or a task that is not LIBERO's; names file and frame.
    """
    where = f"{path}, {name}"
    with _open(path) as file:
        data = file["data"]
        task = find_problem(_attribute(data, "bddl_file_name") or f"{path.stem.removesuffix('_demo')}.bddl", where)
        demo = data[name]
        missing = [key for key in ("states", "actions") if key not in demo]
        if missing:
            raise DatasetError(f"{where} lacks {missing}; it has {sorted(demo)}.")
        states, actions = np.asarray(demo["states"], np.float64), np.asarray(demo["actions"], np.float32)
        observed = demo.get("obs", {})
        keys = ("agentview_rgb", "eye_in_hand_rgb", "ee_pos", "ee_ori", "gripper_states")
        seen = {key: np.asarray(observed[key]) for key in keys} if images and set(keys) <= set(observed) else {}
        model_xml = _attribute(demo, "model_file")
    if states.ndim != 2 or actions.shape != (len(states), 7) or not len(states):
        raise DatasetError(f"{where}: states {states.shape} and actions {actions.shape} must be [n, d] and [n, 7].")
    for quantity, values in (("state", states), ("action", actions)):
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise DatasetError(f"{where}, frame {bad[0]}: the {quantity} holds NaN or infinity.")
    turned = {}
    if seen:
        turned = {
            "observation/image": seen["agentview_rgb"][:, ::-1, ::-1],
            "observation/wrist_image": seen["eye_in_hand_rgb"][:, ::-1, ::-1],
        }
    parts = [seen[key] for key in ("ee_pos", "ee_ori", "gripper_states")] if seen else []
    return Demonstration(
        task=task,
        states=states,
        actions=actions,
        model_xml=model_xml,
        images=turned,
        proprioception=np.concatenate(parts, axis=1).astype(np.float32) if parts else None,
    )


def find_problem(bddl_file_name: str, where: str = "the file") -> Task:
    """The task of a BDDL file, found by its folder and name.

    Raises:
        DatasetError: not one of LIBERO's 130.
    """
    wanted = Path(bddl_file_name)
    found = [task for suite in SUITES for task in tasks(suite) if task.bddl_file.name == wanted.name]
    exact = [task for task in found if task.suite == wanted.parent.name]
    if not found:
        raise DatasetError(f"{where} is of the problem {wanted.name!r}, which is not one of LIBERO's 130 tasks.")
    return (exact or found)[0]


def _attribute(group: Any, name: str) -> str:
    value = group.attrs.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)


def _open(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Reading LIBERO's HDF5 files needs h5py: `uv pip install h5py`.") from error
    if not path.is_file():
        raise DatasetNotFoundError(f"{path} does not exist.")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as HDF5: {error}") from error
