"""Comparison of training runs: a table and a page with their curves."""

from functools import partial
from pathlib import Path

import tyro

from inspire_fast.core.cli import run_command
from inspire_fast.training.comparison.compare import as_text
from inspire_fast.training.comparison.page import write_page
from inspire_fast.training.comparison.recorded_run import read_runs


def compare_runs(runs: tyro.conf.Positional[tuple[Path, ...]], *, out: Path = Path("runs/comparison")) -> None:
    """Prints a table of several runs, finished or not, and writes `comparison.html`.

    Args:
        runs: their folders, `<checkpoint.root>/<config>/<exp_name>`.
        out: folder of the page; an older page is replaced.
    """
    if not runs:
        raise ValueError("Name at least one run: <checkpoint.root>/<config>/<exp_name>.")
    found = read_runs(runs)
    print(as_text(found), write_page(found, out / "comparison.html"), sep="\n")


main = partial(run_command, compare_runs)
