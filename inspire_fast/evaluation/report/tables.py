"""Success rates by task, by suite and in total, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.statistics import Rate, wilson


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        what: `libero_spatial:3`, a suite, or a group of suites.
        prompt: of a single task; empty for others.
        rate: of success.
        held: episodes that ended because the policy gave no action.
        mean_steps: of the solved episodes; None without any.
    """

    what: str
    prompt: str
    rate: Rate
    held: int
    mean_steps: float | None


def results(records: Sequence[EpisodeRecord], *, seen: Iterable[str] = ()) -> list[Row]:
    """Rows of each task, each suite, seen and unseen suites if the protocol names seen ones, and the total.

    A suite's interval weighs all episodes equally. It holds for *these* tasks, not for similar ones.
    """
    rows, suites = [], list(dict.fromkeys(r.suite for r in records))
    for suite, task in dict.fromkeys((r.suite, r.task) for r in records):
        mine = [r for r in records if (r.suite, r.task) == (suite, task)]
        rows.append(_row(f"{suite}:{task}", mine, mine[0].prompt))
    rows += [_row(suite, [r for r in records if r.suite == suite]) for suite in suites]
    if seen := tuple(seen):
        for name, wanted in (("seen suites", True), ("unseen suites", False)):
            group = [r for r in records if (r.suite in seen) == wanted]
            rows += [_row(name, group)] if group else []
    return [*rows, _row("all", list(records))]


def text_table(rows: Sequence[Row]) -> str:
    """The rows as plain text."""
    width = max(len(row.what) for row in rows)
    lines = [f"{'':{width}}  solved        rate   95 % interval   held"]
    for row in rows:
        share = "    -" if row.rate.share is None else f"{row.rate.share:5.1%}"
        count = f"{row.rate.successes} of {row.rate.trials}"
        lines.append(
            f"{row.what:{width}}  {count:>10}  {share:>6}   {row.rate.low:5.1%} .. {row.rate.high:6.1%}  {row.held:4d}"
        )
    return "\n".join(lines)


def _row(what: str, records: Sequence[EpisodeRecord], prompt: str = "") -> Row:
    solved = [r.steps for r in records if r.success]
    return Row(
        what=what,
        prompt=prompt,
        rate=wilson(len(solved), len(records)),
        held=sum(r.stopped == "held" for r in records),
        mean_steps=sum(solved) / len(solved) if solved else None,
    )
