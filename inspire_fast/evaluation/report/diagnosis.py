"""Section "Why did it fail?" of an evaluation's page, from the diagnoses in its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
import numpy as np

from inspire_fast.core.html import Markup, element, note, plot, table
from inspire_fast.evaluation.diagnosis.diagnose import NEAREST_EVERY, Diagnosis
from inspire_fast.evaluation.diagnosis.phases import PHASES, furthest, partial_credit
from inspire_fast.evaluation.records.records import EpisodeRecord, Key
from inspire_fast.evaluation.report.rates import percent

_COLOURS = {True: "#1b7f3b", False: "#b3362b"}


def diagnosis_section(found: Mapping[Key, Diagnosis], records: Sequence[EpisodeRecord]) -> list[Markup]:
    """The section; empty without diagnoses."""
    if not found:
        return []
    sound = [d for d in found.values() if d.repeated]
    parts = [
        element("h2", "Why did it fail?"),
        note(
            f"{len(found)} episodes were repeated from their actions in the simulator"
            f"{_not_repeated(len(found) - len(sound))}. Phases are the simulator's truth. Partial credit (share of the "
            f"phases reached): {_credit(sound)}."
        ),
        _phase_table(sound),
        _outcomes(sound, records),
    ]
    if any(d.nearest_m or d.expert for d in sound):
        parts.append(plot(_curves(sound)))
    return parts


def _not_repeated(count: int) -> str:
    return f"; {count} ended otherwise than recorded and are left out" if count else ""


def _credit(found: Sequence[Diagnosis]) -> str:
    """Mean partial credit with its interval by bootstrap over the episodes."""
    scores = np.array([partial_credit(d.phases) for d in found if d.phases])
    if not len(scores):
        return "–"
    resampled = np.random.default_rng(0).choice(scores, (2000, len(scores))).mean(axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return f"{scores.mean():.1%}, 95 % interval {low:.1%} – {high:.1%} (bootstrap over episodes)"


def _phase_table(found: Sequence[Diagnosis]) -> Markup:
    """Share of episodes that reached each phase, per part of each task's goal."""
    rows: dict[tuple[str, int, str], list[Mapping[str, int | None]]] = {}
    for diagnosis in found:
        for goal, steps in zip(diagnosis.goal, diagnosis.phases, strict=True):
            rows.setdefault((diagnosis.suite, diagnosis.task, goal), []).append(steps)
    body = []
    for (suite, task, goal), episodes in sorted(rows.items()):
        ends = Counter(furthest(steps) for steps in episodes if steps["achieved"] is None)
        worst = ", ".join(f"{name} ({count})" for name, count in ends.most_common(2)) or "–"
        cells = [_reached(phase, episodes) for phase in PHASES]
        body.append([f"{suite}:{task}", goal, len(episodes), *cells, worst])
    head = ["task", "goal", "episodes", *PHASES, "failed episodes ended at"]
    return table(head, body, numbers=set(range(2, 3 + len(PHASES))))


def _reached(phase: str, episodes: Sequence[Mapping[str, int | None]]) -> str:
    if phase not in episodes[0]:
        return "–"
    steps = [step[phase] for step in episodes]
    reached = [step for step in steps if step is not None]
    typical = f" (step {int(np.median(reached))})" if reached else ""
    return f"{percent(len(reached) / len(steps))}{typical}"


def _outcomes(found: Sequence[Diagnosis], records: Sequence[EpisodeRecord]) -> Markup:
    """Medians of solved and of failed episodes, next to each other."""
    by_key = {record.key: record for record in records}
    rows: dict[str, list[str]] = {
        "episodes": [],
        "distance to the thing when the gripper first closed, cm": [],
        "times the gripper closed": [],
        "divergence from the demonstrations: episodes": [],
        "first divergence, step": [],
        "error to the expert at visited states, before the grasp": [],
        "error to the expert at visited states, carrying": [],
        "spread of the expert's own plans": [],
        "gripper commands other than the expert's": [],
        "right answers before the divergence": [],
        "right answers after it": [],
    }
    for success in (True, False):
        group = [d for d in found if d.success is success]
        errors = [error for d in group for error in d.expert]
        diverged = [d.diverged for d in group if d.diverged is not None]
        before, after = _answers(group, by_key)
        values = [
            str(len(group)),
            _median([100 * d.gripper["closed_m"] for d in group if d.gripper["closed_m"] is not None], "{:.1f}"),
            _median([d.gripper["closes"] or 0 for d in group], "{:.0f}"),
            f"{len(diverged)} of {sum(d.usual_m is not None for d in group)}",
            _median(diverged, "{:.0f}"),
            _median([e.translation for e in errors if not e.carrying], "{:.2f}"),
            _median([e.translation for e in errors if e.carrying], "{:.2f}"),
            _median([e.spread for e in errors if e.spread is not None], "{:.2f}"),
            percent(float(np.mean([e.gripper for e in errors])) if errors else None),
            before,
            after,
        ]
        for cells, value in zip(rows.values(), values, strict=True):
            cells.append(value)
    explained = note(
        "Errors and spread are medians of mean absolute differences of x, y and z, in action units: 1 is 5 cm. An "
        "error near the spread is as good as the expert."
    )
    body = [[name, *cells] for name, cells in rows.items()]
    return Markup(table(["", "solved", "failed"], body, numbers={1, 2}) + explained)


def _answers(group: Sequence[Diagnosis], records: Mapping[Key, EpisodeRecord]) -> tuple[str, str]:
    """Accuracy of the answers before and after the first divergence; all are before where there was none."""
    right: dict[bool, list[bool]] = {False: [], True: []}
    for diagnosis in group:
        record = records.get(diagnosis.key)
        for call in record.calls if record is not None else ():
            late = diagnosis.diverged is not None and call.step >= diagnosis.diverged
            right[late] += [bool(answer.right) for answer in call.answers if answer.truth is not None]
    shares = [percent(float(np.mean(values)) if values else None) for values in right.values()]
    return shares[0], shares[1]


def _median(values: Sequence[float], form: str) -> str:
    return form.format(np.median(values)) if len(values) else "–"


def _curves(found: Sequence[Diagnosis]) -> Figure:
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    near, error = figure.subplots(1, 2)
    for diagnosis in found:
        colour = _COLOURS[diagnosis.success]
        steps = NEAREST_EVERY * np.arange(len(diagnosis.nearest_m))
        near.plot(steps, 100 * np.array(diagnosis.nearest_m), color=colour, alpha=0.45, linewidth=1)
        error.plot(
            [e.step for e in diagnosis.expert], [e.translation for e in diagnosis.expert], color=colour, alpha=0.45
        )
    usual = [d.usual_m for d in found if d.usual_m is not None]
    if usual:
        near.axhline(100 * float(np.median(usual)), color="#444", linestyle="--", linewidth=1)
    near.set(title="distance to the nearest demonstrated state", xlabel="control step", ylabel="cm", ylim=(0, None))
    error.set(
        title="error to the expert at visited states", xlabel="control step", ylabel="action units", ylim=(0, None)
    )
    for axes in (near, error):
        axes.grid(alpha=0.3)
        for success, name in ((True, "solved"), (False, "failed")):
            axes.plot([], [], color=_COLOURS[success], label=name)
        axes.legend(frameon=False)
    return figure
