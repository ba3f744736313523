"""Accuracies on records whose right answers are known by construction."""

from dataclasses import replace

import numpy as np
import pytest

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.evaluation.records.records import AnswerRecord, CallRecord, EpisodeRecord
from inspire_fast.evaluation.report.accuracy import (
    by_distance,
    by_phase,
    by_target,
    by_word,
    calibration,
    confusion,
    judged,
    success_by_answers,
)
from inspire_fast.evaluation.report.tables import results, text_table
from inspire_fast.evaluation.run.rollout import Phases


def answer(word: str, truth: str | None, *, p: float = 0.9, far: float | None = 0.1) -> AnswerRecord:
    return AnswerRecord(
        question="direction", asked="?", target="the bowl", answer=word, probability=p, truth=truth, distance_m=far
    )


def call(phase: str | None, *answers: AnswerRecord) -> CallRecord:
    return CallRecord(step=0, answers=answers, status="ok", reason="", timing_ms={}, phase=phase)


def episode(
    number: int, success: bool, *calls: CallRecord, suite: str = "libero_goal", **more: object
) -> EpisodeRecord:
    record = EpisodeRecord(
        suite=suite,
        task=0,
        prompt="open it",
        episode=number,
        success=success,
        stopped="success" if success else "max_steps",
        reason="",
        steps=10,
        holds=0,
        seconds=1.0,
        video=None,
        calls=calls,
    )
    return replace(record, **more)


RECORDS = [
    episode(
        0,
        True,
        call("before", answer("left", "left", far=0.3), answer("up", "up", p=0.4)),
        call("carrying", answer("grasped", "grasped", far=0.01)),
    ),
    episode(
        1,
        False,
        call("before", answer("left", "up"), answer("left", "left", far=None)),
        call("after", answer("up", "left", far=0.25)),
    ),
    episode(2, False, call(None, answer("up", None))),
]


def counts(groups: list) -> dict[str, tuple[int, int]]:
    return {g.what: (g.rate.successes, g.rate.trials) for g in groups}


def test_accuracy_by_everything() -> None:
    answers = judged(RECORDS)
    assert len(answers) == 6  # the answer without a truth counts nowhere
    assert counts(by_word(answers)) == {"left": (2, 3), "up": (1, 2), "grasped": (1, 1)}
    assert counts(by_phase(answers)) == {"before": (3, 4), "carrying": (1, 1), "after": (0, 1)}
    assert counts(by_distance(answers)) == {
        "0 to 0.06 m": (1, 1),
        "0.06 to 0.2 m": (1, 2),
        "0.2 to 0.3 m": (0, 1),
        "0.3 m and more": (1, 1),
    }
    assert counts(by_target(answers)) == {"the bowl": (4, 6)}
    assert confusion(answers) == [
        ("grasped", "grasped", 1),
        ("left", "left", 2),
        ("left", "up", 1),
        ("up", "left", 1),
        ("up", "up", 1),
    ]
    assert counts(calibration(answers))["said 20% to 40%"] == (1, 1)
    assert sum(n for _, n in counts(calibration(answers)).values()) == 6


def test_success_by_how_right_the_answers_were() -> None:
    assert counts(success_by_answers(RECORDS)) == {
        "at least 9 of 10 right": (1, 1),
        "half to 9 of 10 right": (0, 0),
        "less than half right": (0, 1),
    }


def test_results_by_task_suite_and_seen() -> None:
    more = [*RECORDS, episode(0, True, suite="libero_90"), episode(1, False, suite="libero_90", stopped="held")]
    rows = {row.what: row for row in results(more, seen=("libero_90",))}
    assert (rows["libero_goal"].rate.successes, rows["libero_goal"].rate.trials) == (1, 3)
    assert (rows["seen suites"].rate.trials, rows["unseen suites"].rate.trials) == (2, 3)
    assert rows["libero_90:0"].held == 1
    assert (rows["all"].rate.successes, rows["all"].rate.trials) == (2, 5)
    assert "2 of 5   40.0%   11.8% ..  76.9%" in text_table(list(rows.values()))


def scene(*grasped: bool) -> SceneFacts:
    offset = np.zeros(3, np.float32)
    return SceneFacts(
        targets=tuple(TargetFacts(phrase=f"the {n}", offset_m=offset, grasped=g) for n, g in enumerate(grasped))
    )


def test_phases_of_an_episode() -> None:
    phases = Phases()
    seen = [
        phases.at(f) for f in (scene(False, False), scene(True, False), scene(False, False), scene(False, True), None)
    ]
    assert seen == ["before", "carrying", "after", "carrying", None]
    assert Phases().at(None) is None


@pytest.mark.parametrize("records", [[], RECORDS[2:]])
def test_nothing_judged_is_no_accuracy(records: list[EpisodeRecord]) -> None:
    assert all(g.rate.share is None for g in by_phase(judged(records)))
