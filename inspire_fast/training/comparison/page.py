"""Comparison page: curves with one colour per run, a table with the best values marked, differences of the configs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
import html
import io
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from inspire_fast.core.files import write_text
from inspire_fast.training.comparison.compare import Row, differences, metric_names, smoothed, table, token_differences
from inspire_fast.training.comparison.recorded_run import RecordedRun
from inspire_fast.training.trackers.metric_names import TITLES, Group, metric

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{margin-bottom:.2rem} h2{margin-top:2.2rem} .note{color:#666} .warn{background:#fff3d6;padding:.5rem .8rem;border-radius:6px}
.wide{overflow-x:auto} table{border-collapse:collapse;font-size:.92rem} img{max-width:100%}
td,th{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums} .best{color:#1b7f3b;font-weight:600}
.key{display:inline-block;width:1.6rem;height:.35rem;border-radius:2px;margin-right:.5rem;vertical-align:middle}
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
    names = metric_names(runs)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Runs compared</title><style>{STYLE}</style>",
        f"<h1>{len(runs)} run{'s' * (len(runs) > 1)} compared</h1>",
        _runs(runs),
        _warning(runs),
        f"<p class=note>{_SMOOTHED}</p>",
        *(f"<h2>{TITLES[group]}</h2>{_image(draw(runs, [*members]))}" for group, members in groupby(names, _group)),
        "<h2>Metrics</h2><p class=note>The best run is marked where a direction is better; each value is followed by its step.</p>",
        _table(runs, table(runs)),
        "<h2>Differences of the configs</h2>",
        _differences(runs),
    ]
    write_text(path, "\n".join(part for part in parts if part))
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


def _image(figure: Figure) -> str:
    target = io.BytesIO()
    with mpl.rc_context({"font.size": 10}):
        figure.savefig(target, format="png", dpi=100)
    return f"<img alt='' src='data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}'>"


def _runs(runs: Sequence[RecordedRun]) -> str:
    rows = [
        f"<tr><td><span class=key style='background:{colour(n)}'></span>{html.escape(run.label)}"
        f"<td>{html.escape(str(run.config.get('name', 'unknown before the first checkpoint')))}<td class=n>{run.step:,}"
        f"<td class=n>{'' if run.step_s is None else f'{run.step_s:.3g}'}<td>{html.escape(str(run.folder))}"
        for n, run in enumerate(runs)
    ]
    head = "<tr><th>run<th>config<th class=n>last step<th class=n>seconds per step, median<th>folder"
    return f"<div class=wide><table>{head}{''.join(rows)}</table></div>"


def _warning(runs: Sequence[RecordedRun]) -> str:
    differing = token_differences(runs)
    if not differing:
        return ""
    return (
        f"<p class=warn>The runs differ in {html.escape(', '.join(differing))}: their tokens are not the same, so losses and "
        "token accuracies do not tell which is better. Compare decoded metrics, in native units.</p>"
    )


def _table(runs: Sequence[RecordedRun], rows: Sequence[Row]) -> str:
    def cell(row: Row, number: int) -> str:
        found = row.cells[number]
        if found is None:
            return "<td class=n>&ndash;"
        value, step = found
        best = " best" if number in row.best else ""
        return f"<td class='n{best}'>{value:.4g}{'' if step is None else f' <span class=note>at {step:,}</span>'}"

    lines = [
        f"<tr><td>{html.escape(row.name)}<td>{row.kind}{''.join(cell(row, n) for n in range(len(runs)))}"
        for row in rows
    ]
    return f"<div class=wide><table><tr><th>metric<th>{_heads(runs)}{''.join(lines)}</table></div>"


def _heads(runs: Sequence[RecordedRun]) -> str:
    keys = (f"<span class=key style='background:{colour(n)}'></span>" for n in range(len(runs)))
    return "".join(f"<th class=n>{key}{html.escape(run.label)}" for key, run in zip(keys, runs, strict=True))


def _differences(runs: Sequence[RecordedRun]) -> str:
    unknown = [run.label for run in runs if not run.config]
    note = f"<p class=note>No checkpoint yet, so no config: {html.escape(', '.join(unknown))}.</p>" if unknown else ""
    if len(runs) - len(unknown) < 2:
        return note or "<p class=note>There is one run.</p>"
    found = differences(runs)
    if not found:
        return note + "<p class=note>Nothing.</p>"
    known = [n for n, run in enumerate(runs) if run.config]
    lines = [
        f"<tr><td>{html.escape(path)}{''.join(f'<td>{html.escape(values[n])}' for n in known)}"
        for path, values in found.items()
    ]
    heads = "".join(f"<th>{html.escape(runs[n].label)}" for n in known)
    return f"{note}<div class=wide><table><tr><th>field{heads}{''.join(lines)}</table></div>"
