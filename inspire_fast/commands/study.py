"""Studies: trains and evaluates what a study compares, in a queue that continues after an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Annotated

import tyro

from inspire_fast.core.cli import run_command
from inspire_fast.core.stages import run_stages
from inspire_fast.study.definition import Study, load_study
from inspire_fast.study.queue import STAGES, require_same, stages
from inspire_fast.study.results import read_rows, summary, text_table, write_page


@dataclass(frozen=True, kw_only=True)
class Args:
    """Runs a study, or shows what it has found so far.

    Attributes:
        name: of a file in `configs/studies`, or the path of one.
        out: folder of its runs; by default `runs/studies/<name>`.
        table: only print the table and write the page, from the runs that are finished.
    """

    name: tyro.conf.Positional[str] = "questions"
    out: Path | None = None
    table: bool = False


def study(args: Annotated[Args, tyro.conf.arg(name="")]) -> None:
    """Runs what is missing; after every finished stage the page is written anew. The last line is one JSON object.

    Raises:
        ValueError: the folder holds runs of another definition, code or data.
    """
    definition = load_study(args.name)
    out = args.out or Path("runs/studies") / definition.name
    if not args.table:
        require_same(definition, out)
        run_stages(stages(definition, out), out / STAGES, after_each=lambda: _show(definition, out, told=False))
    _show(definition, out, told=True)


def _show(definition: Study, out: Path, *, told: bool) -> None:
    rows = read_rows(definition, out)
    page = write_page(definition, rows, out)
    if told:
        print(f"{text_table(rows)}\npage: {page}\n{json.dumps(summary(definition, rows, out))}")


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command."""
    run_command(study, args)
