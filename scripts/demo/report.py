"""HTML report of a demo run: learning curves, metrics with baselines, answers, episodes with videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
import numpy as np

from inspire_fast.core.files import write_json, write_text
from inspire_fast.core.html import Markup, document, element, note, plot, table
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.answers import CONFUSION_STYLE, confusion_table
from inspire_fast.evaluation.report.episodes import EPISODES_SCRIPT, EPISODES_STYLE, episodes
from inspire_fast.policy.load import SHIPPED_DEFAULT

_STYLE = """
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:1rem;margin:1.2rem 0}
.card{border:1px solid #ddd;border-radius:8px;padding:.8rem 1rem} .card b{font-size:1.7rem;display:block}
.card p{margin:0}
"""


def write_report(
    report: Mapping[str, Any], records: Sequence[EpisodeRecord], shipped: Sequence[EpisodeRecord], folder: Path
) -> Path:
    """Writes `report.json` and `report.html`; returns the page's path.

    Args:
        report: the metrics, see `summarise`.
        records: of the trained policy's episodes; their videos are in `folder`/episodes.
        shipped: of the shipped policy's episodes; their videos are in `folder`/shipped.
        folder: of the run.
    """
    write_json(folder / "report.json", report)
    seconds = [[name, f"{value:.1f}"] for name, value in report["seconds"].items()]
    page = document(
        "A policy that says where things are before it acts",
        element("h2", "The shipped policy"),
        _shipped_lead(report),
        _shipped_cards(report),
        *episodes(shipped, folder / "shipped", embed=True),
        element("h2", "The same path from nothing, in a few minutes"),
        _lead(report),
        _cards(report),
        element("h2", "Learning curves"),
        note("Nats per token, answers and actions apart."),
        plot(_curves(report["losses"])),
        element("h2", "Answers on held-out demonstrations"),
        note(f"{report['held_out_samples']} samples; rows are the truth, columns the model's answer."),
        confusion_table([tuple(row) for row in report["confusion"]]),
        element("h2", "Episodes of the policy trained here"),
        *episodes(records, folder / "episodes", embed=True),
        element("h2", "Time"),
        table(["stage", "seconds"], seconds, numbers={1}),
        style=_STYLE + CONFUSION_STYLE + EPISODES_STYLE,
        script=EPISODES_SCRIPT,
    )
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _shipped_lead(r: Mapping[str, Any]) -> Markup:
    return note(
        f"The checkpoint {SHIPPED_DEFAULT!r} comes with the package; docs/acting.md has the commands that trained it "
        f"on two CPU cores. Here it ran {r['shipped_episodes']} episodes through the websocket server, from initial "
        "states that it was not trained on. The four tasks are those of the ten that it does best; the model card has "
        "its figures for all (inspire_fast/shipped/inspire_acting/README.md)."
    )


def _lead(r: Mapping[str, Any]) -> Markup:
    return note(
        f"{r['parameters']:,} parameters, {r['steps']:,} steps on {r['demonstrations']} demonstrations "
        f"recorded in the LIBERO simulator; {r['episodes']} evaluation episodes through the websocket server; "
        f"{r['seconds_total']:.0f} s in all. This run proves the path. Solved episodes take a longer run of the same "
        "commands: docs/acting.md."
    )


def _card(title: str, value: str, baseline: str, *, good: bool | None) -> Markup:
    tone = {True: "good", False: "bad", None: None}[good]
    return element("div", title, element("b", value, class_=tone), note(baseline), class_="card")


def _accuracy_card(title: str, accuracy: float, majority: float, *, of: str) -> Markup:
    return _card(title, f"{accuracy:.1%}", f"{of}most frequent answer: {majority:.1%}", good=accuracy > majority)


def _shipped_cards(r: Mapping[str, Any]) -> Markup:
    cards = [
        _card("Episodes solved", f"{r['shipped_successes']} of {r['shipped_episodes']}", "held-out states", good=None)
    ]
    if r["shipped_answer_accuracy"] is not None:
        accuracy, majority = r["shipped_answer_accuracy"], r["shipped_answer_majority_baseline"]
        cards.append(_accuracy_card("Answers during the episodes", accuracy, majority, of=""))
    return element("div", cards, class_="cards")


def _cards(r: Mapping[str, Any]) -> Markup:
    cards = [
        _accuracy_card(
            "Answer accuracy, held out", r["answer_accuracy"], r["answer_majority_baseline"], of="always the "
        ),
        _card(
            "Action error, held out",
            f"{r['action_error']:.3f}",
            f"predicting the mean: {r['action_error_mean_baseline']:.3f} (mean absolute, native units)",
            good=r["action_error"] < r["action_error_mean_baseline"],
        ),
        _card("Episodes solved", f"{r['successes']} of {r['episodes']}", "as they are; this is a tiny run", good=None),
    ]
    if r["rollout_answer_accuracy"] is not None:
        accuracy, majority = r["rollout_answer_accuracy"], r["rollout_answer_majority_baseline"]
        cards.append(
            _accuracy_card("Answers during the episodes", accuracy, majority, of=f"{r['rollout_answers']} answers; ")
        )
    if r["inference_ms_median"] is not None:
        held = f"{r['held_chunks']} of {r['calls']} chunks held"
        cards.append(_card("Policy call, median", f"{r['inference_ms_median']:.0f} ms", held, good=None))
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
