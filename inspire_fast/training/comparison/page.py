"""Comparison page: curves with one colour per run, a table with the best values marked, differences of the configs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure

from inspire_fast.core import html
from inspire_fast.core.files import write_text
from inspire_fast.training.comparison.compare import Row, differences, metric_names, smoothed, table, token_differences
from inspire_fast.training.comparison.recorded_run import RecordedRun
from inspire_fast.training.trackers.metric_names import TITLES, Group, metric

_STYLE = """
.best{font-weight:600} .key{display:inline-block;width:1.6rem;height:.35rem;border-radius:2px;margin-right:.5rem}
"""
# Okabe and Ito's colours, safe for colour-blind readers, without the yellow that is invisible on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444")
DASHES = ("-", "--", ":")
_COLUMNS, _SMOOTHING = 3, 20  # plots per row; steps of the longest run / width of the smoothing

_SMOOTHED = (
    "Thin lines are metrics as logged; thick lines are means over earlier steps, with the same width for every run. "
    "Metrics of held-out samples are not smoothed."
)


def write_page(runs: Sequence[RecordedRun], path: Path) -> Path:
    """Writes one self-contained HTML file; returns its path."""
    figures = [
        (html.element("h2", TITLES[group]), html.plot(draw(runs, [*members])))
        for group, members in groupby(metric_names(runs), _group)
    ]
    text = html.document(
        "Runs compared",
        _runs(runs),
        _warning(runs),
        html.note(_SMOOTHED),
        *figures,
        html.element("h2", "Metrics"),
        html.note("The best run is marked where a direction is better; each value is followed by its step."),
        _table(runs, table(runs)),
        html.element("h2", "Differences of the configs"),
        *_differences(runs),
        heading=f"{len(runs)} run{'s' * (len(runs) > 1)} compared",
        style=_STYLE,
    )
    write_text(path, text)
    return path


def _group(name: str) -> Group:
    return metric(name).group


def colour(number: int) -> str:
    """The colour of a run."""
    return COLOURS[number % len(COLOURS)]


def draw(runs: Sequence[RecordedRun], names: Sequence[str]) -> Figure:
    """One plot per metric, with every run that has it."""
    rows = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(12, 2.9 * rows), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    width = max(run.step for run in runs) / _SMOOTHING
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        for number, run in enumerate(runs):
            if name not in run.curves:
                continue
            curve, look = run.curves[name], {"color": colour(number), "linestyle": DASHES[number // len(COLOURS) % 3]}
            mean = smoothed(curve, width if metric(name).noisy else 0)
            if mean is not curve:
                axes.plot(*curve.T, **look, linewidth=0.8, alpha=0.35)
            axes.plot(*mean.T, **look, linewidth=1.8, marker="o" if len(curve) < 12 else None, markersize=4, alpha=0.85)
        axes.set(title=name, xlabel="step", ylabel=metric(name).unit)
        axes.grid(alpha=0.3)
    return figure


def _key(number: int, label: str) -> list[html.Markup]:
    return [html.element("span", class_="key", style=f"background:{colour(number)}"), html.escape(label)]


def _runs(runs: Sequence[RecordedRun]) -> html.Markup:
    rows = [
        [
            _key(number, run.label),
            run.config.get("name", "unknown before the first checkpoint"),
            f"{run.step:,}",
            None if run.step_s is None else f"{run.step_s:.3g}",
            run.folder,
        ]
        for number, run in enumerate(runs)
    ]
    return html.table(["run", "config", "last step", "seconds per step, median", "folder"], rows, numbers={2, 3})


def _warning(runs: Sequence[RecordedRun]) -> html.Markup | None:
    differing = token_differences(runs)
    if not differing:
        return None
    return html.element(
        "p",
        f"The runs differ in {', '.join(differing)}: their tokens are not the same, so losses and token accuracies "
        "do not tell which is better. Compare decoded metrics, in native units.",
        class_="warn",
    )


def _table(runs: Sequence[RecordedRun], rows: Sequence[Row]) -> html.Markup:
    def cell(row: Row, number: int) -> html.Content:
        found = row.cells[number]
        if found is None:
            return "–"
        value, step = found
        shown = html.element("span", f"{value:.4g}", class_="best" if number in row.best else None)
        return shown if step is None else [shown, " ", html.element("span", f"at {step:,}", class_="note")]

    numbers = range(len(runs))
    head = ["metric", "", *(_key(n, run.label) for n, run in enumerate(runs))]
    body = [[row.name, row.kind, *(cell(row, n) for n in numbers)] for row in rows]
    return html.table(head, body, numbers=[n + 2 for n in numbers])


def _differences(runs: Sequence[RecordedRun]) -> list[html.Markup]:
    unknown = [run.label for run in runs if not run.config]
    notes = [html.note("No checkpoint yet, so no config: ", ", ".join(unknown), ".")] if unknown else []
    if len(runs) - len(unknown) < 2:
        return notes or [html.note("There is one run.")]
    found = differences(runs)
    if not found:
        return [*notes, html.note("Nothing.")]
    known = [n for n, run in enumerate(runs) if run.config]
    rows = [[path, *(values[n] for n in known)] for path, values in found.items()]
    return [*notes, html.table(["field", *(runs[n].label for n in known)], rows)]
