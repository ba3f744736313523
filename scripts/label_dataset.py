"""Writes spatial facts next to a LeRobot dataset: `uv run scripts/label_dataset.py hindsight --root data/mine --robot libero`.

Subcommands: `hindsight` (gripper events), `annotations` (JSON lines), `object-info` (InSpire's label files), `replay`
(LIBERO's simulator). Run again after an interruption, it goes on where it stopped.
"""

from dataclasses import dataclass
from pathlib import Path
import sys
from typing import Annotated

import tyro

from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.labeling.annotations import Annotations
from inspire_fast.labeling.demonstrations.replay import Replay
from inspire_fast.labeling.hindsight.producer import Hindsight
from inspire_fast.labeling.labeler import label_dataset
from inspire_fast.labeling.object_info import ObjectInfo
from inspire_fast.robots import ROBOTS

Source = (
    Annotated[Hindsight, tyro.conf.subcommand("hindsight", prefix_name=False)]
    | Annotated[Annotations, tyro.conf.subcommand("annotations", prefix_name=False)]
    | Annotated[ObjectInfo, tyro.conf.subcommand("object-info", prefix_name=False)]
    | Annotated[Replay, tyro.conf.subcommand("replay", prefix_name=False)]
)


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to label.

    Attributes:
        source: where the facts come from.
        root: the dataset's folder.
        robot: registry name of the embodiment.
        episodes: first and one past the last episode (default: all); labels of the others stay.
        skip_bad_episodes: leave out episodes that cannot be labelled, and list them.
        overwrite: replace labels that another producer wrote (e.g. a simulator's truth by hindsight's).
    """

    source: Source
    root: Path
    robot: str = "libero"
    episodes: tuple[int, int] | None = None
    skip_bad_episodes: bool = False
    overwrite: bool = False


def main(args: Args) -> None:
    """Labels, and prints what was refused (all of it: `labels/report.json`)."""
    if args.episodes is not None and not 0 <= args.episodes[0] < args.episodes[1]:
        raise ValueError(
            f"--episodes {args.episodes[0]} {args.episodes[1]} is no range: give the first, and one past the last."
        )
    dataset, robot = LeRobotDataset(args.root), ROBOTS[args.robot]
    chosen = None if args.episodes is None else range(*args.episodes)
    report = label_dataset(
        dataset,
        args.source,
        robot=robot,
        episodes=chosen,
        skip_bad_episodes=args.skip_bad_episodes,
        overwrite=args.overwrite,
    )
    print(report)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, config=(tyro.conf.CascadeSubcommandArgs, tyro.conf.OmitArgPrefixes)))
    except (KeyError, IndexError, ValueError, ImportError, OSError) as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error  # KeyError prints in quotes
        print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
        raise SystemExit(2) from error
