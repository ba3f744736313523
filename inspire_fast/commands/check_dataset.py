"""Search for episodes that cannot be trained on, and, with `--quality`, for those that perhaps should not be."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
import sys
from typing import Annotated

import tyro

from inspire_fast.commands.with_config import ConfigArgument, run_with_config
from inspire_fast.core.cli import run_command
from inspire_fast.data.lerobot.check import find_bad_episodes
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.quality import Numbers, describe_blank, describe_lag, find, measure
from inspire_fast.robots import ROBOTS
from inspire_fast.training.datasets.sources import training_columns


def check(dataset: LeRobotDataset, columns: Sequence[str], *, decode: bool, name: str = "") -> dict[int, str]:
    """Prints the bad episodes of one dataset; returns them with the reasons."""
    bad = find_bad_episodes(dataset, columns, decode=decode)
    for episode, reason in bad.items():
        print(f"{name}episode {episode}: {reason}")
    checked = len(dataset.episodes) - len(dataset.skipped)
    note = "" if decode else " Images were not decoded (--decode)."
    print(f"{name}{len(bad)} of {checked} episodes are unusable.{note}")
    return bad


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Search for episodes that are sound and yet perhaps no good examples.

    Attributes:
        quality: report idle stretches, jerk, jumps, stray actions, chatter of grippers, lag of the state behind the
            actions, duplicates, cameras whose pictures are of one colour; with `--decode` also pictures that stay
            the same while the arm moves.
        page: HTML page of the worst episodes, of one dataset.
    """

    quality: bool = False
    page: Path | None = None


QualityOptions = Annotated[Quality, tyro.conf.arg(name="")]


def report_quality(
    dataset: LeRobotDataset, numbers: Numbers, options: Quality, *, bad: Collection[int] = (), name: str = ""
) -> None:
    """Prints what is unusual, and the numbers of those episodes as `exclude_episodes` takes them."""
    sound = dataset.without(dict.fromkeys(bad, "unusable"))
    measures = measure(sound, numbers)
    findings = find(measures)
    for finding in findings:
        print(f"{name}episode {finding.episode}, frame {finding.frame}: {finding.text}")
    print(f"{name}{describe_lag(measures.lag, dataset.fps)}")
    cameras = numbers.cameras or [column for column, feature in dataset.features.items() if feature.visual]
    for line in describe_blank(sound, cameras):
        print(f"{name}{line}")
    episodes = sorted({finding.episode for finding in findings})
    print(f"{name}{len(episodes)} of {len(measures.episodes)} episodes are unusual.")
    if 0 < len(episodes) < len(measures.episodes):
        print(f"{name}to leave them out: --data.exclude-episodes {' '.join(map(str, episodes))}")
    if options.page:
        from inspire_fast.data.quality.page import write_page  # matplotlib takes two seconds to import

        write_page(options.page, sound, numbers, measures, findings)
        print(f"page: {options.page}")


def _numbers_of(dataset: LeRobotDataset, robot: str | None, *, decode: bool) -> Numbers:
    """Columns that are measured, by the names that LeRobot's datasets use."""
    named = {
        kind: next((n for n in names if n in dataset.features), None)
        for kind, names in {"state": ("state", "observation.state"), "actions": ("actions", "action")}.items()
    }
    if missing := [kind for kind, name in named.items() if name is None]:
        raise ValueError(
            f"{dataset.root} has no column for {' and '.join(missing)}; it has {', '.join(dataset.features)}. Check it "
            "with a config that names its columns."
        )
    cameras = tuple(name for name, feature in dataset.features.items() if feature.visual) if decode else ()
    dims = ROBOTS[robot].gripper_dims if robot else ()
    return Numbers(state=str(named["state"]), actions=str(named["actions"]), gripper_dims=dims, cameras=cameras)


def check_roots(
    *,
    root: tuple[Path, ...],
    columns: tuple[str, ...] = (),
    decode: bool = False,
    robot: str | None = None,
    quality: QualityOptions = Quality(),
) -> int:
    """Prints file, episode and frame of defects in datasets; status 1 if there are any.

    With a config's name as the first word, its datasets are checked in the columns that training reads.

    Args:
        root: folders of the datasets.
        columns: those that training reads (default: all).
        decode: decode every image, which finds damaged ones.
        robot: registry name; says which actions command a gripper, for `--quality`.
        quality: further checks.
    """
    datasets = [LeRobotDataset(folder) for folder in root]  # all of them first: a wrong path ends the command at once
    names = [f"{dataset.root}: " if len(datasets) > 1 else "" for dataset in datasets]
    require_one(datasets, quality)
    found = 0
    for dataset, name in zip(datasets, names, strict=True):
        bad = check(dataset, columns or list(dataset.features), decode=decode, name=name)
        found += len(bad)
        if quality.quality:
            report_quality(dataset, _numbers_of(dataset, robot, decode=decode), quality, bad=bad, name=name)
    return int(found > 0)


def require_one(datasets: Sequence[object], options: Quality) -> None:
    """Refuses options that would have no effect, or that several datasets cannot share.

    Raises:
        ValueError: a page without `--quality`, or of several datasets.
    """
    if options.page and not options.quality:
        raise ValueError("--page shows what --quality finds: add --quality.")
    if options.page and len(datasets) > 1:
        raise ValueError(f"--page is of one dataset; got {len(datasets)}. Check them one by one.")


def check_config(config: ConfigArgument, *, decode: bool = False, quality: QualityOptions = Quality()) -> int:
    """Prints file, episode and frame of defects in a config's datasets; status 1 if there are any.

    Args:
        config: the config, changed by the other options; its `exclude_episodes` are not checked.
        decode: decode every image, which finds damaged ones.
        quality: further checks.
    """
    parts = config.data.datasets
    datasets = [LeRobotDataset(part.root) for part in parts]
    require_one(datasets, quality)
    found = 0
    for part, dataset in zip(parts, datasets, strict=True):
        columns, actions = training_columns(config.data, config.embodiment, part)
        left = dataset.without(dict.fromkeys(part.exclude_episodes, "excluded by its number"))
        name = f"{part.root}: " if len(parts) > 1 else ""
        bad = check(left, [*columns, actions], decode=decode, name=name)
        found += len(bad)
        if quality.quality:
            state = next(c for c in columns if not dataset.feature(c).visual)
            cameras = tuple(c for c in columns if dataset.feature(c).visual) if decode else ()
            dims = config.embodiment.gripper_dims
            numbers = Numbers(state=state, actions=actions, gripper_dims=dims, cameras=cameras)
            report_quality(left, numbers, quality, bad=bad, name=name)
    return int(found > 0)


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command."""
    args = sys.argv[1:] if args is None else args
    if args and not args[0].startswith("-"):
        run_with_config(check_config, args)
    else:
        run_command(check_roots, args)
