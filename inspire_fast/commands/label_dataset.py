"""Labels of a LeRobot dataset: the spatial facts that questions are answered from.

Subcommands: `hindsight` (gripper events), `annotations` (JSON lines), `object-info` (InSpire's label files), `replay`
(LIBERO's simulator), `robo-inter`, `intern-data` and `language` (label columns; the last ones are LeRobot's), `traces`
(the gripper's path in pictures of a calibrated camera). `calibrate` finds that camera.
"""

from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from inspire_fast.core.cli import run_command
from inspire_fast.core.console import command_line
from inspire_fast.core.hub import HubAddress, is_hub_address
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.labeling.annotations import Annotations
from inspire_fast.labeling.calibrated import Traces
from inspire_fast.labeling.clicks import Calibrate
from inspire_fast.labeling.columns import InternData, RoboInter
from inspire_fast.labeling.demonstrations.replay import Replay
from inspire_fast.labeling.hindsight.producer import Hindsight
from inspire_fast.labeling.labeler import label_dataset
from inspire_fast.labeling.language_columns import LanguageColumns
from inspire_fast.labeling.object_info import ObjectInfo
from inspire_fast.robots import ROBOTS

Source = (
    Annotated[Hindsight, tyro.conf.subcommand("hindsight", prefix_name=False)]
    | Annotated[Annotations, tyro.conf.subcommand("annotations", prefix_name=False)]
    | Annotated[ObjectInfo, tyro.conf.subcommand("object-info", prefix_name=False)]
    | Annotated[Replay, tyro.conf.subcommand("replay", prefix_name=False)]
    | Annotated[RoboInter, tyro.conf.subcommand("robo-inter", prefix_name=False)]
    | Annotated[InternData, tyro.conf.subcommand("intern-data", prefix_name=False)]
    | Annotated[LanguageColumns, tyro.conf.subcommand("language", prefix_name=False)]
    | Annotated[Traces, tyro.conf.subcommand("traces", prefix_name=False)]
    | Annotated[Calibrate, tyro.conf.subcommand("calibrate", prefix_name=False)]
)


def label(
    source: Source,
    *,
    root: Path,
    robot: str = "libero",
    episodes: tuple[int, int] | None = None,
    skip_bad_episodes: bool = False,
    overwrite: bool = False,
) -> int:
    """Writes spatial facts of a dataset to its `labels/`.

    Repeated after an interruption, it continues where it stopped. Prints a summary of what was refused; the whole list
    is `labels/report.json`. The exit status is 1 if no frame was labelled.

    Args:
        source: producer of the facts; `calibrate` writes no facts, and the options below `robot` have no meaning there.
        root: the dataset's folder.
        robot: registry name of the embodiment.
        episodes: first and one past the last episode (default: all); labels of the others stay.
        skip_bad_episodes: leave out episodes that cannot be labelled, and list them.
        overwrite: replace labels that another producer wrote (e.g. a simulator's truth by hindsight's).
    """
    if episodes is not None and not 0 <= episodes[0] < episodes[1]:
        raise ValueError(f"--episodes {episodes[0]} {episodes[1]} is no range: give the first, and one past the last.")
    if is_hub_address(root):
        raise ValueError(
            f"{HubAddress.parse(str(root))} is a dataset of the hub. Labels are written beside a dataset, and the "
            "hub's cache may be cleared at any time. Copy the dataset into a folder of your own, which "
            f"`{command_line('convert_dataset')} lerobot --source hf://... --root data/...` does, and label that."
        )
    if isinstance(source, Calibrate):
        print(source.run(LeRobotDataset(root), ROBOTS[robot]))
        return 0
    report = label_dataset(
        LeRobotDataset(root),
        source,
        robot=ROBOTS[robot],
        episodes=None if episodes is None else range(*episodes),
        skip_bad_episodes=skip_bad_episodes,
        overwrite=overwrite,
    )
    print(report)
    return int(report.frames_labelled == 0)


main = partial(run_command, label, config=(tyro.conf.CascadeSubcommandArgs, tyro.conf.OmitArgPrefixes))
