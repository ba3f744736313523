"""Comparison of several runs: last and best metrics, and differences of their configs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import json
from typing import Literal

import numpy as np

from inspire_fast.training.comparison.recorded_run import TOKENS, RecordedRun
from inspire_fast.training.trackers.metric_names import TITLES, metric


def smoothed(curve: np.ndarray, width: float) -> np.ndarray:
    """The curve `[n, 2]` as an exponential mean over earlier steps, whose weight falls by e every `width` steps.

    Runs that log every step and runs that log every hundredth are smoothed over the same number of steps. The mean is
    normalised by its weights, so that it starts at the first value instead of at zero.
    """
    if width <= 0 or len(curve) < 3:
        return curve
    total = weight = 0.0
    before, means = curve[0, 0], []
    for step, value in curve:
        kept = np.exp((before - step) / width)
        total, weight, before = total * kept + value, weight * kept + 1.0, step
        means.append(total / weight)
    return np.stack([curve[:, 0], means], axis=1)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric of every run.

    Attributes:
        cells: per run, (value, step of the value or None); None if the run lacks the metric.
        best: numbers of the runs with the best value; empty if no value is better than another.
    """

    name: str
    kind: Literal["last", "best", "held out"]
    cells: tuple[tuple[float, int | None] | None, ...]
    best: frozenset[int]


def metric_names(runs: Sequence[RecordedRun]) -> list[str]:
    """All metrics of all runs, group by group."""
    names = dict.fromkeys(name for run in runs for name in run.curves)
    order = list(TITLES)
    return sorted(names, key=lambda name: order.index(metric(name).group))


def table(runs: Sequence[RecordedRun]) -> list[Row]:
    """Last and best value of each metric, then the metrics of `held_out.json`."""
    rows: list[Row] = []
    for name in metric_names(runs):
        curves = [run.curves.get(name) for run in runs]
        rows.append(_row(name, "last", [None if c is None else (float(c[-1, 1]), int(c[-1, 0])) for c in curves]))
        if (way := metric(name).better) is not None:
            pick = np.argmin if way == "lower" else np.argmax
            at = [None if c is None else c[pick(c[:, 1])] for c in curves]
            rows.append(_row(name, "best", [None if p is None else (float(p[1]), int(p[0])) for p in at]))
    for name in dict.fromkeys(name for run in runs for name in run.held_out):
        values = [run.held_out.get(name) for run in runs]
        rows.append(_row(name, "held out", [None if v is None else (v, None) for v in values]))
    return rows


def _row(name: str, kind: Literal["last", "best", "held out"], cells: Sequence[tuple[float, int | None] | None]) -> Row:
    values = {i: cell[0] for i, cell in enumerate(cells) if cell is not None and np.isfinite(cell[0])}
    way = metric(name).better
    best: frozenset[int] = frozenset()
    if way is not None and len({*values.values()}) > 1:
        top = (min if way == "lower" else max)(values.values())
        best = frozenset(i for i, value in values.items() if value == top)
    return Row(name=name, kind=kind, cells=tuple(cells), best=best)


def differences(runs: Sequence[RecordedRun]) -> dict[str, list[str]]:
    """Path in the config -> its value per run, where runs with a checkpoint differ; "(none)" for a missing value."""
    known = [run for run in runs if run.config]
    paths = dict.fromkeys(path for run in known for path in run.config)
    texts = {p: [json.dumps(run.config[p]) if p in run.config else "(none)" for run in runs] for p in paths}
    told = [i for i, run in enumerate(runs) if run.config]
    return {path: values for path, values in texts.items() if len({values[i] for i in told}) > 1}


def token_differences(runs: Sequence[RecordedRun]) -> list[str]:
    """Contract fields in which tokens of the runs differ, so that losses and token accuracies cannot be compared."""
    known = [run.tokens for run in runs if run.tokens]
    return [key for key in TOKENS if len({json.dumps(tokens.get(key)) for tokens in known}) > 1]


def as_text(runs: Sequence[RecordedRun]) -> str:
    """The table and the differences for a terminal; the best value of a row has a star."""
    cells = [["", "", *(run.label for run in runs)]]
    for row in table(runs):
        values = ("-" if c is None else f"{c[0]:.4g}{'*' if n in row.best else ''}" for n, c in enumerate(row.cells))
        cells.append([row.name, row.kind, *values])
    cells += [[path, "config", *values] for path, values in differences(runs).items()]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )
