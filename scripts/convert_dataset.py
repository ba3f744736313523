"""Writes another dataset as a LeRobot dataset: `uv run scripts/convert_dataset.py <kind> --source ... --root data/mine`.

Kinds: `lerobot` (another version, or images for videos), `hdf5` (LIBERO's demonstrations, replayed and labelled),
`inspire` (InSpire's real-robot folders), `rlds` (Open X-Embodiment, DROID; needs TensorFlow Datasets).
"""

from pathlib import Path
import sys

import tyro

from inspire_fast.data.converters.base import Conversion, Description, Storage, convert
from inspire_fast.data.converters.inspire import inspire_episodes
from inspire_fast.data.converters.lerobot import copy_dataset
from inspire_fast.data.converters.rlds import LAYOUTS, rlds_episodes
from inspire_fast.labeling.demonstrations.libero_hdf5 import Hdf5Options, convert_hdf5
from inspire_fast.robots import ROBOTS


def lerobot(source: Path, root: Path, storage: Storage) -> Conversion:
    """A LeRobot dataset (v2.0, v2.1, v3.0) anew."""
    return copy_dataset(source, root, storage=storage)


def hdf5(source: tuple[Path, ...], root: Path, options: Hdf5Options, storage: Storage) -> Conversion:
    """LIBERO's demonstrations; a folder stands for every file in it."""
    files = [file for path in source for file in (sorted(path.glob("*.hdf5")) if path.is_dir() else [path])]
    return convert_hdf5(files, root, options=options, storage=storage)


def inspire(source: Path, root: Path, storage: Storage, fps: int = 10, actions_from_states: bool = False) -> Conversion:  # noqa: FBT001, FBT002
    """InSpire's folders; the release does not say at which rate they were recorded."""
    robot, episodes = ROBOTS["inspire_arm"], inspire_episodes(source, actions_from_states=actions_from_states)
    names = {"state": robot.state_names, "actions": robot.action_names}
    return convert(episodes, root, Description(fps=fps, robot_type=robot.name, names=names), storage=storage)


def rlds(source: Path, root: Path, storage: Storage, layout: str = "droid", split: str = "train") -> Conversion:
    """An RLDS dataset in one of the known layouts."""
    chosen = LAYOUTS[layout]
    return convert(
        rlds_episodes(source, chosen, split=split),
        root,
        Description(fps=chosen.fps, robot_type=chosen.robot),
        storage=storage,
    )


if __name__ == "__main__":
    try:
        print(
            tyro.extras.subcommand_cli_from_dict({"lerobot": lerobot, "hdf5": hdf5, "inspire": inspire, "rlds": rlds})
        )
    except (KeyError, ValueError, OSError, ImportError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error  # the text of a KeyError is quoted
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2) from error
