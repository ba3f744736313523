"""Looks for episodes that cannot be trained on: `uv run scripts/check_dataset.py --root data/mine [--decode]`.

Prints file, episode and frame of each, and ends with status 1 if there are any. Numbers, instructions, times and the lengths
of videos are looked at; damaged pictures are found with `--decode` only.
"""

from dataclasses import dataclass
from pathlib import Path
import sys

import tyro

from inspire_fast.data.check import find_bad_episodes
from inspire_fast.data.lerobot import LeRobotDataset


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to look at.

    Attributes:
        root: the dataset's folder.
        columns: those that training reads (default: all).
        decode: decode every picture.
    """

    root: Path
    columns: tuple[str, ...] = ()
    decode: bool = False


def main(args: Args) -> int:
    """Prints what is wrong; the number of bad episodes."""
    dataset = LeRobotDataset(args.root)
    bad = find_bad_episodes(dataset, args.columns or list(dataset.features), decode=args.decode)
    for episode, reason in bad.items():
        print(f"episode {episode}: {reason}")
    print(
        f"{len(bad)} of {len(dataset.episodes)} episodes are unusable.{'' if args.decode else ' Pictures were not decoded (--decode).'}"
    )
    return len(bad)


if __name__ == "__main__":
    try:
        raise SystemExit(int(main(tyro.cli(Args)) > 0))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
