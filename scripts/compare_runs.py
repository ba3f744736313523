"""Several runs side by side: `uv run scripts/compare_runs.py RUN RUN [RUN ...] [--out DIR]` prints a table and writes a page.

A run is its folder, `<checkpoint_root>/<config>/<exp_name>`; it may still be training.
"""

from dataclasses import dataclass
from pathlib import Path
import sys

import tyro

from inspire_fast.training.comparison.compare import as_text
from inspire_fast.training.comparison.page import write_page
from inspire_fast.training.comparison.recorded_run import read_runs


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to compare.

    Attributes:
        runs: their folders.
        out: where `comparison.html` is written; an older one is replaced.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    out: Path = Path("runs/comparison")


def main(args: Args) -> None:
    """Prints and writes."""
    if not args.runs:
        raise ValueError("Name at least one run: <checkpoint_root>/<config>/<exp_name>.")
    runs = read_runs(args.runs)
    print(as_text(runs), write_page(runs, args.out / "comparison.html"), sep="\n")


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
