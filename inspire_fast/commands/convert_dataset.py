"""Conversion of other datasets to LeRobot's format.

Kinds: `lerobot` (another version, or images for videos), `hdf5` (LIBERO's demonstrations, replayed and labelled),
`inspire` (InSpire's real-robot folders), `rlds` (Open X-Embodiment, DROID; needs TensorFlow Datasets), `rollouts`
(recorded on a robot workstation), `llava` (pictures with conversations about places in them, for the script `ground`).
"""

from functools import partial
from pathlib import Path

from inspire_fast.core.cli import run_command
from inspire_fast.data.converters.base import Description, Storage, convert
from inspire_fast.data.converters.inspire import inspire_episodes
from inspire_fast.data.converters.lerobot import copy_dataset
from inspire_fast.data.converters.rlds import LAYOUTS, rlds_episodes
from inspire_fast.data.converters.rollouts import rollout_episodes, rollout_header
from inspire_fast.labeling.demonstrations.libero_hdf5 import Hdf5Options, convert_hdf5
from inspire_fast.labeling.llava import convert_llava
from inspire_fast.labeling.llava_rows import LlavaOptions
from inspire_fast.robots import ROBOTS


def lerobot(*, source: Path, root: Path, storage: Storage, language_columns: bool = False) -> None:
    """Copies a LeRobot dataset (v2.0, v2.1, v3.0).

    Args:
        source: the dataset.
        root: folder of the copy.
        storage: of the copy.
        language_columns: write its labels of places in pictures into LeRobot's language columns, too.
    """
    print(copy_dataset(source, root, storage=storage, language_columns=language_columns))


def hdf5(*, source: tuple[Path, ...], root: Path, options: Hdf5Options, storage: Storage) -> None:
    """Converts LIBERO's demonstrations; of a folder every file."""
    files = [file for path in source for file in (sorted(path.glob("*.hdf5")) if path.is_dir() else [path])]
    print(convert_hdf5(files, root, options=options, storage=storage))


def inspire(*, source: Path, root: Path, storage: Storage, fps: int = 10, actions_from_states: bool = False) -> None:
    """Converts InSpire's folders; the release does not give the rate at which they were recorded."""
    robot, episodes = ROBOTS["inspire_arm"], inspire_episodes(source, actions_from_states=actions_from_states)
    names = {"state": robot.state_names, "actions": robot.action_names}
    print(convert(episodes, root, Description(fps=fps, robot_type=robot.name, names=names), storage=storage))


def rlds(*, source: Path, root: Path, storage: Storage, layout: str = "droid", split: str = "train") -> None:
    """Converts an RLDS dataset in one of the known layouts."""
    chosen = LAYOUTS[layout]
    episodes = rlds_episodes(source, chosen, split=split)
    print(convert(episodes, root, Description(fps=chosen.fps, robot_type=chosen.robot), storage=storage))


def rollouts(*, source: Path, root: Path, storage: Storage, only_success: bool = False) -> None:
    """Converts a folder of rollouts; `only_success` keeps those that ended with success."""
    header = rollout_header(source)
    robot, episodes = ROBOTS[header["robot"]], rollout_episodes(source, only_success=only_success)
    names = {robot.action_column: robot.action_names}
    facts = Description(fps=header["control_hz"], robot_type=robot.name, names=names)
    print(convert(episodes, root, facts, storage=storage))


def llava(*, source: Path, root: Path, options: LlavaOptions, storage: Storage) -> None:
    """Converts LLaVA's rows (JSON or JSON lines), whose answers are points, boxes and paths, to single pictures."""
    print(convert_llava(source, root, options=options, storage=storage))


KINDS = {"lerobot": lerobot, "hdf5": hdf5, "inspire": inspire, "rlds": rlds, "rollouts": rollouts, "llava": llava}
main = partial(run_command, KINDS)
