"""Looks for episodes that cannot be trained on: `uv run scripts/check_dataset.py --root data/mine [--decode]`.

Prints file, episode and frame of each, and ends with status 1 if there are any. Numbers, instructions, times and the lengths
of videos are looked at; damaged images are found with `--decode` only. With a config's name in the first place,

    uv run scripts/check_dataset.py <config> [--decode] [--data.parts data/libero:3 data/mine:1] [--any.field value]

every dataset of the config is looked at, in the columns that its training reads; `exclude_episodes` are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import sys

import tyro

from inspire_fast.data.lerobot.check import find_bad_episodes
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.training.cli import run_with_config
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.datasets.sources import training_columns


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to look at.

    Attributes:
        root: the datasets' folders.
        columns: those that training reads (default: all).
        decode: decode every image.
    """

    root: tuple[Path, ...]
    columns: tuple[str, ...] = ()
    decode: bool = False


def check(dataset: LeRobotDataset, columns: Sequence[str], *, decode: bool, name: str = "") -> int:
    """Prints what is wrong with one dataset; the number of bad episodes."""
    bad = find_bad_episodes(dataset, columns, decode=decode)
    for episode, reason in bad.items():
        print(f"{name}episode {episode}: {reason}")
    looked = len(dataset.episodes) - len(dataset.skipped)
    print(
        f"{name}{len(bad)} of {looked} episodes are unusable.{'' if decode else ' Images were not decoded (--decode).'}"
    )
    return len(bad)


def check_roots(args: Args) -> int:
    """Looks at datasets by their folders."""
    datasets = [LeRobotDataset(root) for root in args.root]  # all of them first: a wrong path ends the command at once
    names = [f"{dataset.root}: " if len(datasets) > 1 else "" for dataset in datasets]
    return sum(
        check(dataset, args.columns or list(dataset.features), decode=args.decode, name=name)
        for dataset, name in zip(datasets, names, strict=True)
    )


def check_config(config: TrainConfig, *, decode: bool) -> int:
    """Looks at the datasets of a config."""
    parts = config.data.datasets
    datasets = [LeRobotDataset(part.root) for part in parts]
    bad = 0
    for part, dataset in zip(parts, datasets, strict=True):
        columns, actions = training_columns(config.data, config.embodiment, part)
        left = dataset.without(dict.fromkeys(part.exclude_episodes, "excluded by its number"))
        bad += check(left, [*columns, actions], decode=decode, name=f"{part.root}: " if len(parts) > 1 else "")
    return bad


if __name__ == "__main__":
    words = sys.argv[1:]
    try:
        if words and not words[0].startswith("-"):
            rest, decode = [word for word in words if word != "--decode"], "--decode" in words
            found = run_with_config(lambda config: check_config(config, decode=decode), "Looks for bad episodes.", rest)
        else:
            found = check_roots(tyro.cli(Args))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    raise SystemExit(int(found > 0))
