"""HTML report of a demo run, made from `report.json`: learning curves, figures with baselines, episodes, videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
import numpy as np

from inspire_fast.core.files import write_json, write_text
from inspire_fast.core.html import Markup, data_uri, document, element, figure, image, note, table

_STYLE = """
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:1rem;margin:1.2rem 0}
.card{border:1px solid #ddd;border-radius:8px;padding:.8rem 1rem} .card b{font-size:1.7rem;display:block} .card p{margin:0}
.videos{display:grid;grid-template-columns:repeat(auto-fit,minmax(24rem,1fr));gap:1rem}
"""

VIDEO_NOTE = (
    "One picture per call of the policy, as a person standing at the robot sees it. Under it each target, the model's "
    "answer (green when it is the simulator's truth) and the true answer."
)


def write_report(report: Mapping[str, Any], folder: Path) -> Path:
    """Writes `report.json` and, from it, `report.html` with everything inside; returns the page's path."""
    write_json(folder / "report.json", report)
    stored = json.loads((folder / "report.json").read_text())
    page = folder / "report.html"
    write_text(page, _page(stored, folder))
    return page


def _page(r: Mapping[str, Any], folder: Path) -> str:
    seconds = [[name, f"{value:.1f}"] for name, value in r["seconds"].items()]
    return document(
        "A policy that says where things are before it acts",
        _lead(r),
        _cards(r),
        element("h2", "Learning curves"),
        note("Nats per token, answers and actions apart."),
        image(_png(_curves(r["losses"]))),
        element("h2", "Answers on held-out demonstrations"),
        note(f"{r['held_out_samples']} samples; rows are the truth, columns the model's answer."),
        image(_png(_confusion(r["confusion"]))),
        element("h2", "Episodes"),
        _episodes(r["episode_table"]),
        element("h2", "Videos"),
        note(VIDEO_NOTE),
        element("div", (_video(path, folder) for path in r["videos"]), class_="videos"),
        element("h2", "Time"),
        table(["stage", "seconds"], seconds, numbers={1}),
        style=_STYLE,
    )


def _lead(r: Mapping[str, Any]) -> Markup:
    return note(
        f"{r['parameters']:,} parameters, {r['steps']:,} steps on {r['demonstrations']} demonstrations "
        f"recorded in the LIBERO simulator; {r['episodes']} evaluation episodes through the websocket server; "
        f"{r['seconds_total']:.0f} s in all."
    )


def _cards(r: Mapping[str, Any]) -> Markup:
    def card(title: str, value: str, baseline: str, *, good: bool | None) -> Markup:
        tone = {True: "good", False: "bad", None: None}[good]
        return element("div", title, element("b", value, class_=tone), note(baseline), class_="card")

    cards = [
        card(
            "Answer accuracy, held out",
            f"{r['answer_accuracy']:.1%}",
            f"always the commonest answer: {r['answer_majority_baseline']:.1%}",
            good=r["answer_accuracy"] > r["answer_majority_baseline"],
        ),
        card(
            "Action error, held out",
            f"{r['action_error']:.3f}",
            f"predicting the mean: {r['action_error_mean_baseline']:.3f} (mean absolute, native units)",
            good=r["action_error"] < r["action_error_mean_baseline"],
        ),
        card("Episodes solved", f"{r['successes']} of {r['episodes']}", "as they are; this is a tiny run", good=None),
    ]
    if r["rollout_answer_accuracy"] is not None:
        cards.append(
            card(
                "Answers during the episodes",
                f"{r['rollout_answer_accuracy']:.1%}",
                f"{r['rollout_answers']} answers; commonest: {r['rollout_answer_majority_baseline']:.1%}",
                good=r["rollout_answer_accuracy"] > r["rollout_answer_majority_baseline"],
            )
        )
    if r["inference_ms_median"] is not None:
        held = f"{r['held_chunks']} of {r['calls']} chunks held"
        cards.append(card("Policy call, median", f"{r['inference_ms_median']:.0f} ms", held, good=None))
    return element("div", cards, class_="cards")


def _curves(losses: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2), ("answer", "action"), strict=True):
        for key, label, style in ((f"{kind}_loss", "training", "-"), (f"held_out_{kind}_loss", "held out", "o--")):
            points = np.array(losses[key]).reshape(-1, 2)
            axes.plot(points[:, 0], points[:, 1], style, label=label, markersize=4)
        axes.set(title=f"{kind} loss", xlabel="step", ylabel="nats per token", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure


def _confusion(counts: Sequence[tuple[str, str, int]]) -> Figure:
    words = sorted({word for truth, answer, _ in counts for word in (truth, answer)})
    matrix = np.zeros((len(words), len(words)), int)
    for truth, answer, count in counts:
        matrix[words.index(truth), words.index(answer)] += count
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xticks=range(len(words)), yticks=range(len(words)), xlabel="answer", ylabel="truth")
    axes.set_xticklabels(words, rotation=45, ha="right")
    axes.set_yticklabels(words)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            tone = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=tone)
    return figure


def _png(figure: Figure) -> bytes:
    target = io.BytesIO()
    with mpl.rc_context({"font.size": 10}):
        figure.savefig(target, format="png", dpi=110)
    return target.getvalue()


def _episodes(rows: Sequence[Mapping[str, Any]]) -> Markup:
    head = ["task", "instruction", "episode", "solved", "steps", "calls", "holds", "answers right", "seconds"]
    body = [
        [
            row["task"],
            row["prompt"],
            str(row["episode"]),
            "yes" if row["success"] else f"no ({row['stopped']})",
            str(row["steps"]),
            str(row["calls"]),
            str(row["holds"]),
            f"{row['answers_right']} of {row['answers']}",
            f"{row['seconds']:.1f}",
        ]
        for row in rows
    ]
    return table(head, body, numbers={2, 4, 5, 6, 8})


def _video(path: str, folder: Path) -> Markup:
    source = data_uri((folder / path).read_bytes(), "video/mp4")
    return figure(path, element("video", controls=True, muted=True, loop=True, src=source))
