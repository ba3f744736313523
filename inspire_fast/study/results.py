"""Results of a study: a row per arm, condition and source of answers, over the seeds that are finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from inspire_fast.core.files import write_text
from inspire_fast.core.html import Markup, document, element, fill, note, table
from inspire_fast.core.stages import finished_stages
from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.records import EpisodeRecord, Key
from inspire_fast.evaluation.report.accuracy import accuracy, judged, majority
from inspire_fast.evaluation.report.rates import RATE_HEAD, percent, rate_cells
from inspire_fast.evaluation.report.sequential import clustered_interval
from inspire_fast.evaluation.report.statistics import Paired, Rate, compare, difference_text, wilson
from inspire_fast.study.definition import Condition, Study
from inspire_fast.study.queue import STAGES, evaluation_folder

PAGE = "study.html"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Finished evaluations of one arm under one condition with one source of answers.

    Attributes:
        arm, condition, answering: names.
        seeds: of the runs.
        rate: solved episodes of all seeds, with Wilson's interval, which takes episodes for independent.
        tasks_interval: of the mean over tasks like these (`clustered_interval`); None with one task.
        answer_accuracy, majority: of the answers whose truth is known, and of the commonest true word; None without.
        against_first: in pairs of episodes of the same seed, against the first arm's own answers.
        infer_ms: median time of a call.
        train_s: mean seconds of a training.
    """

    arm: str
    condition: str
    answering: str
    seeds: tuple[int, ...]
    rate: Rate
    tasks_interval: tuple[float, float] | None
    answer_accuracy: float | None
    majority: float | None
    against_first: Paired | None
    infer_ms: float | None
    train_s: float

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        paired = self.against_first
        return {
            "arm": self.arm,
            "condition": self.condition,
            "answers": self.answering,
            "seeds": list(self.seeds),
            "successes": self.rate.successes,
            "episodes": self.rate.trials,
            "interval": [round(self.rate.low, 4), round(self.rate.high, 4)],
            "tasks_interval": self.tasks_interval,
            "answer_accuracy": self.answer_accuracy,
            "answer_majority_baseline": self.majority,
            "difference_to_first_arm": None if paired is None else paired.difference,
            "difference_interval": None if paired is None else [round(end, 4) for end in paired.interval],
            "p_value": None if paired is None else paired.p_value,
            "infer_ms": self.infer_ms,
            "train_s": self.train_s,
        }


def read_rows(study: Study, out: Path) -> list[Row]:
    """Rows with at least one finished evaluation, in the order of the definition."""
    done = finished_stages(out / STAGES)
    rows: list[Row] = []
    for condition in study.conditions:
        first_arm = (study.arms[0].name, study.arms[0].answering[0])
        first = _successes(_read(study, out, done, first_arm[0], condition, first_arm[1]))
        for arm in study.arms:
            for answering in condition.sources(arm):
                if found := _read(study, out, done, arm.name, condition, answering):
                    other = {} if (arm.name, answering) == first_arm else first
                    rows += [_row(arm.name, condition.name, answering, found, other, done)]
    return rows


def _read(
    study: Study, out: Path, done: Mapping[str, float], arm: str, condition: Condition, answering: str
) -> dict[int, list[EpisodeRecord]]:
    """Seed -> records of the finished evaluations."""
    return {
        run.seed: records.read(evaluation_folder(out, run, condition, answering))
        for run in study.runs
        if run.arm.name == arm and f"evaluate {run.name} {condition.name} {answering}" in done
    }


def _successes(found: Mapping[int, Sequence[EpisodeRecord]]) -> dict[tuple[int, Key], bool]:
    return {(seed, record.key): record.success for seed, of_seed in found.items() for record in of_seed}


def _row(
    arm: str,
    condition: str,
    answering: str,
    found: Mapping[int, Sequence[EpisodeRecord]],
    first: Mapping[tuple[int, Key], bool],
    done: Mapping[str, float],
) -> Row:
    of_all = [record for of_seed in found.values() for record in of_seed]
    answers, solved = judged(of_all), _successes(found)
    times = [call.timing_ms["infer_ms"] for record in of_all for call in record.calls if "infer_ms" in call.timing_ms]
    paired = compare(first, solved)
    return Row(
        arm=arm,
        condition=condition,
        answering=answering,
        seeds=tuple(found),
        rate=wilson(sum(solved.values()), len(solved)),
        tasks_interval=clustered_interval(of_all),
        answer_accuracy=accuracy(answers),
        majority=majority(answers),
        against_first=paired if paired.episodes else None,
        infer_ms=round(median(times), 2) if times else None,
        train_s=round(sum(done[f"train {arm}-{seed}"] for seed in found) / len(found), 1),
    )


def text_table(rows: Sequence[Row]) -> str:
    """The rows as plain text."""
    lines = [f"{'arm':16} {'condition':12} {'answers':12} {'seeds':>5} {'solved':>10} {'rate':>7} {'interval':>15} p"]
    for row in rows:
        rate, paired = row.rate, row.against_first
        lines.append(
            f"{row.arm:16} {row.condition:12} {row.answering:12} {len(row.seeds):5} "
            f"{f'{rate.successes} of {rate.trials}':>10} {percent(rate.share):>7} "
            f"{f'{rate.low:.0%} to {rate.high:.0%}':>15} {'' if paired is None else f'{paired.p_value:.3f}'}"
        )
    return "\n".join(lines)


def summary(study: Study, rows: Sequence[Row], out: Path) -> dict[str, Any]:
    """The JSON object that `scripts/study.py --table` prints last."""
    done = finished_stages(out / STAGES)
    finished = [run.name for run in study.runs if f"train {run.name}" in done]
    return {
        "study": study.name,
        "arms": [arm.name for arm in study.arms],
        "runs_finished": len(finished),
        "runs": len(study.runs),
        "episodes": sum(row.rate.trials for row in rows),
        "table": [row.to_json() for row in rows],
    }


def write_page(study: Study, rows: Sequence[Row], out: Path) -> Path:
    """Writes the page into the folder and returns its path."""
    done = finished_stages(out / STAGES)
    missing = [run.name for run in study.runs if f"train {run.name}" not in done]
    parts = [
        element(
            "p",
            f"{len(study.arms)} ways of training with seeds {', '.join(map(str, study.seeds))}, {study.steps:,} steps "
            f"each on the same data; initial states per task: {study.episodes}.",
        ),
        note("Not trained yet: ", ", ".join(missing)) if missing else None,
        *(_section(condition, rows) for condition in study.conditions),
        note(
            "Intervals: 95 %, Wilson's over episodes, over tasks as the sample, Newcombe's of differences. p: exact "
            f"McNemar test in pairs of episodes and seeds against {study.arms[0].name!r}, not corrected for the number "
            "of comparisons."
        ),
    ]
    path = out / PAGE
    write_text(path, document(f"Study: {study.name}", *parts))
    return path


def _section(condition: Condition, rows: Sequence[Row]) -> list[Markup]:
    shown = [row for row in rows if row.condition == condition.name]
    head = [
        "arm",
        "answers",
        "seeds",
        *RATE_HEAD,
        "over tasks",
        "answers right",
        "commonest",
        "difference, points",
        "p",
        "ms",
    ]
    return [
        element("h2", condition.name),
        note(", ".join(condition.tasks), *(f", {word}" for word in condition.options)),
        table([*head, "training"], [_cells(row) for row in shown], numbers={2, 3, 4, 7, 8, 9, 10, 11, 12, 13})
        if shown
        else note("No evaluation is finished."),
    ]


def _cells(row: Row) -> list[Any]:
    paired, over = row.against_first, row.tasks_interval
    return [
        row.arm,
        row.answering,
        len(row.seeds),
        *rate_cells(row.rate),
        "–" if over is None else f"{over[0]:.0%} – {over[1]:.0%}",
        percent(row.answer_accuracy),
        percent(row.majority),
        difference_text(paired),
        "–" if paired is None else f"{paired.p_value:.3f}",
        "–" if row.infer_ms is None else f"{row.infer_ms:.0f}",
        fill("{minutes:.0f} min", minutes=row.train_s / 60),
    ]
