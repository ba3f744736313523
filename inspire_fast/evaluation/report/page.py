"""The HTML report of an evaluation, made from its folder: success, answers, time, failures, every episode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import write_text
from inspire_fast.core.html import Markup, document, element, fill, note, table
from inspire_fast.evaluation.diagnosis.diagnose import read_diagnoses
from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.records import CallRecord, EpisodeRecord
from inspire_fast.evaluation.report.answers import CONFUSION_STYLE, answers_section
from inspire_fast.evaluation.report.compare import comparison
from inspire_fast.evaluation.report.diagnosis import diagnosis_section
from inspire_fast.evaluation.report.episodes import EPISODES_SCRIPT, EPISODES_STYLE, episodes
from inspire_fast.evaluation.report.location_section import locations_section
from inspire_fast.evaluation.report.paths import paths_section
from inspire_fast.evaluation.report.rates import RATE_HEAD, percent, rate_cells
from inspire_fast.evaluation.report.sequential import clustered_interval
from inspire_fast.evaluation.report.tables import results
from inspire_fast.evaluation.run.failures import read_failures
from inspire_fast.evaluation.run.protocols import protocol_from

_EMBED_BYTES = 64 * 2**20
_STYLE = """
pre{overflow:auto;background:#f6f6f6;padding:.6rem} .grid{display:grid;grid-template-columns:1fr 1fr;gap:1.5rem}
"""
_TIMES = {
    "observe_s": "rendering",
    "infer_s": "waiting for the policy",
    "step_s": "physics",
    "other_s": "resets, truth, video",
}


class Evaluation:
    """The content of an evaluation's folder.

    Raises:
        ValueError: the folder holds no evaluation, or one of another version.
    """

    def __init__(self, folder: Path) -> None:
        try:
            claim = json.loads((folder / records.CLAIM).read_text(encoding="utf-8"))
            self.settings: Mapping[str, Any] = claim["settings"]
            self.policy: Mapping[str, Any] = claim["policy"]
            self.protocol = protocol_from(self.settings["protocol"])
            self.answers: str = self.settings["answers"]
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(f"{folder} holds no evaluation of this version ({records.CLAIM}): {error}.") from error
        self.folder, self.records, self.failures = folder, records.read(folder), read_failures(folder)


def write_page(folder: Path, *, compare: Path | None = None, embed: bool | None = None) -> Path:
    """Writes `report.html` into the folder and returns its path.

    Args:
        folder: of an evaluation, finished or not.
        compare: folder of another evaluation, to compare episode by episode.
        embed: puts videos into the page; else the page links to them. None embeds up to 64 MB.

    Raises:
        ValueError: a folder without an evaluation, or evaluations that cannot be paired.
    """
    evaluation = Evaluation(folder)
    page = folder / "report.html"
    if embed is None:
        videos = [folder / r.video for r in evaluation.records if r.video]
        embed = sum(video.stat().st_size for video in videos if video.exists()) <= _EMBED_BYTES
    text = document(
        f"{evaluation.protocol.simulator_name} evaluation",
        _lead(evaluation),
        element("h2", "Success"),
        _success(evaluation),
        None if compare is None else _compared(evaluation, Evaluation(compare)),
        *diagnosis_section(read_diagnoses(folder), evaluation.records),
        *answers_section(evaluation.records, forced=evaluation.answers != "own"),
        *locations_section(evaluation.records),
        *paths_section(evaluation.records, evaluation.policy.get("questions") or {}),
        element("h2", "Time"),
        _time(evaluation.records),
        _failures(evaluation),
        element("h2", "Episodes"),
        episodes(evaluation.records, folder, embed=embed),
        style=_STYLE + CONFUSION_STYLE + EPISODES_STYLE,
        script=EPISODES_SCRIPT,
    )
    write_text(page, text)
    return page


def _compared(this: Evaluation, other: Evaluation) -> list[Markup]:
    apart = [
        *records.differences(this.settings, other.settings),
        *records.differences(this.policy, other.policy, "policy."),
    ]
    items = (element("li", line.replace(" then, ", " here, ").removesuffix(" now"), " there") for line in apart)
    what = "What differs:" if apart else "The same policy, asked in the same way."
    listed = [element("ul", items)] if apart else []
    return [*comparison(this.records, other.records, other.folder.name), element("p", what), *listed]


def _lead(e: Evaluation) -> list[Markup]:
    tasks = len({(r.suite, r.task) for r in e.records})
    # The number of trials per task is known without the simulator; the number of tasks is not.
    trials = {task: e.protocol.trial_count(*task) for task in dict.fromkeys((r.suite, r.task) for r in e.records)}
    short = sum(n < trials[task] for task, n in Counter((r.suite, r.task) for r in e.records).items())
    counts = " or ".join(map(str, sorted(set(trials.values()))))
    part = f", {short} of them with fewer than the protocol's {counts} trials" if short else ""
    answers = {
        "own": "the policy answers its questions itself",
        "oracle": "the simulator's truth is forced as every answer (oracle)",
        "adversarial": "a wrong answer is forced in every call",
        "random": "an answer drawn from all allowed ones is forced in every call",
        "shifted": "the truth is forced, its places moved by a tenth of the picture",
        "swapped": "the truth about the next target is forced as the answer about each",
        "skip": "no question is asked",
    }[e.answers]
    disturbed = ", ".join(f"{name} {severity}" for name, severity in e.settings.get("disturbances", {}).items())
    how = f"; disturbed by {disturbed} (of 5)" if disturbed else ""
    if drawn := e.settings.get("visual_prompt"):
        how += f"; the true {drawn} of each thing is drawn into the picture"
    policy = {k: e.policy[k] for k in ("checkpoint", "robot", "script", "image_orientation") if e.policy.get(k)}
    shown = [
        fill("{comma}{key} <b>{value}</b>", comma=", " * (n > 0), key=k, value=v)
        for n, (k, v) in enumerate(policy.items())
    ]
    settings = json.dumps(e.settings, indent=1, sort_keys=True)
    return [
        fill(
            "<p>Protocol <b>{protocol}</b> <code>{hash}</code>: {what}; {answers}. Policy: {policy}.</p>",
            protocol=e.protocol.name,
            hash=e.settings["protocol_hash"],
            what=f"{len(e.records)} episodes of {tasks} tasks{part}",
            answers=answers + how,
            policy=shown or "without metadata",
        ),
        *([note(f"{e.protocol.in_words}.")] if e.protocol.in_words else []),
        element("details", element("summary", "All settings"), element("pre", settings)),
    ]


def _success(e: Evaluation) -> list[Markup]:
    rows = results(e.records, seen=e.protocol.seen)
    head = ["", "instruction", *RATE_HEAD, "held", "steps when solved"]
    body = [
        [
            row.what,
            row.prompt,
            *rate_cells(row.rate),
            str(row.held),
            "–" if row.mean_steps is None else f"{row.mean_steps:.0f}",
        ]
        for row in [r for r in rows if not r.prompt] + [r for r in rows if r.prompt]
    ]
    clustered = clustered_interval(e.records)
    intervals = note("Wilson intervals: for these tasks, all episodes weighed equally.")
    if clustered is not None:
        low, high = clustered
        intervals += note(f"With the tasks as the sample, the mean over tasks like these: {low:.1%} – {high:.1%}.")
    return [Markup(intervals), table(head, body, numbers={2, 3, 4, 6, 7})]


def _time(found: Sequence[EpisodeRecord]) -> list[Markup]:
    if not found:
        return [note("No episode yet.")]
    calls = [c for r in found for c in r.calls]
    held = sum(c.status != "ok" for c in calls)
    said = (
        f"{sum(r.seconds for r in found):.0f} simulator seconds (of all workers together), "
        f"{sum(r.steps for r in found)} control steps, {len(calls)} calls of the policy, {held} of them held."
    )
    columns = element("div", _spent(found)), element("div", _latencies(calls))
    return [element("p", said), element("div", columns, class_="grid")]


def _spent(found: Sequence[EpisodeRecord]) -> Markup:
    total, parts = sum(r.seconds for r in found), Counter[str]()
    for record in found:
        parts.update(record.times)
    rows = [[name, f"{parts[key]:.0f}", percent(parts[key] / total if total else None)] for key, name in _TIMES.items()]
    return table(["episodes' time", "seconds", "share"], rows, numbers={1, 2})


def _latencies(calls: Sequence[CallRecord]) -> Markup:
    rows = []
    for phase in sorted({k for c in calls for k in c.timing_ms}):
        values = np.array([c.timing_ms[phase] for c in calls if phase in c.timing_ms])
        rows.append([phase, *(f"{np.quantile(values, q):.1f}" for q in (0.5, 0.95)), f"{values.max():.1f}"])
    return table(["per call, ms", "median", "95 %", "longest"], rows, numbers={1, 2, 3})


def _failures(e: Evaluation) -> list[Markup]:
    if not e.failures:
        return []
    done = {r.key for r in e.records}
    body = [
        [
            f"{f.suite}:{f.task}",
            str(f.episode),
            f.kind,
            f.reason[:300],
            "finished later" if f.key in done else "missing",
        ]
        for f in e.failures
    ]
    return [
        element("h2", "Infrastructure failures"),
        note("They do not count as episodes of the policy."),
        table(["task", "episode", "kind", "what happened", "now"], body, numbers={1}),
    ]
