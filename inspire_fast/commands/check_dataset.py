"""Search for episodes that cannot be trained on: damaged videos, missing instructions, wrong times and numbers."""

from collections.abc import Sequence
from pathlib import Path
import sys

from inspire_fast.commands.with_config import ConfigArgument, run_with_config
from inspire_fast.core.cli import run_command
from inspire_fast.data.lerobot.check import find_bad_episodes
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.training.datasets.sources import training_columns


def check(dataset: LeRobotDataset, columns: Sequence[str], *, decode: bool, name: str = "") -> int:
    """Prints the bad episodes of one dataset; returns their number."""
    bad = find_bad_episodes(dataset, columns, decode=decode)
    for episode, reason in bad.items():
        print(f"{name}episode {episode}: {reason}")
    checked = len(dataset.episodes) - len(dataset.skipped)
    note = "" if decode else " Images were not decoded (--decode)."
    print(f"{name}{len(bad)} of {checked} episodes are unusable.{note}")
    return len(bad)


def check_roots(*, root: tuple[Path, ...], columns: tuple[str, ...] = (), decode: bool = False) -> int:
    """Prints file, episode and frame of defects in datasets; status 1 if there are any.

    With a config's name as the first word, its datasets are checked in the columns that training reads.

    Args:
        root: folders of the datasets.
        columns: those that training reads (default: all).
        decode: decode every image, which finds damaged ones.
    """
    datasets = [LeRobotDataset(folder) for folder in root]  # all of them first: a wrong path ends the command at once
    names = [f"{dataset.root}: " if len(datasets) > 1 else "" for dataset in datasets]
    found = [
        check(dataset, columns or list(dataset.features), decode=decode, name=name)
        for dataset, name in zip(datasets, names, strict=True)
    ]
    return int(any(found))


def check_config(config: ConfigArgument, *, decode: bool = False) -> int:
    """Prints file, episode and frame of defects in a config's datasets; status 1 if there are any.

    Args:
        config: the config, changed by the other options; its `exclude_episodes` are not checked.
        decode: decode every image, which finds damaged ones.
    """
    parts = config.data.datasets
    datasets = [LeRobotDataset(part.root) for part in parts]
    bad = 0
    for part, dataset in zip(parts, datasets, strict=True):
        columns, actions = training_columns(config.data, config.embodiment, part)
        left = dataset.without(dict.fromkeys(part.exclude_episodes, "excluded by its number"))
        bad += check(left, [*columns, actions], decode=decode, name=f"{part.root}: " if len(parts) > 1 else "")
    return int(bad > 0)


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command."""
    args = sys.argv[1:] if args is None else args
    if args and not args[0].startswith("-"):
        run_with_config(check_config, args)
    else:
        run_command(check_roots, args)
