"""Sequential tests: false alarms and power by seeded simulation, and the rounds of an evaluation."""

import numpy as np
import pytest

from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.sequential import (
    StopRule,
    capital,
    clustered_interval,
    complete_rounds,
    confidence_interval,
    paired_rounds,
    verdict,
)

TASKS = np.linspace(0.2, 1.0, 10)  # unlike tasks; their mean is 0.6


def episode(*, task: int, number: int, success: bool) -> EpisodeRecord:
    return EpisodeRecord(
        suite="s",
        task=task,
        prompt="",
        episode=number,
        success=success,
        stopped="",
        reason="",
        steps=1,
        holds=0,
        seconds=1.0,
        video=None,
        calls=(),
    )


def runs(rate_by_task: np.ndarray, *, repeats: int, length: int, seed: int = 0) -> np.ndarray:
    """Rounds of many evaluations, `[repeats, length, tasks]`."""
    drawn = np.random.default_rng(seed).random((repeats, length, len(rate_by_task)))
    return (drawn < rate_by_task).astype(float)


@pytest.mark.parametrize("rates", [TASKS, np.full(10, 0.6), np.full(1, 0.6)], ids=["unlike", "alike", "one"])
def test_looking_after_every_round_raises_no_more_false_alarms_than_the_level(rates: np.ndarray):
    found = [verdict(rounds, 0.6) for rounds in runs(rates, repeats=1500, length=50)]
    assert sum(v != "open" for v in found) / len(found) < 0.05


def test_a_usual_test_repeated_after_every_round_raises_many():
    naive = [
        any(abs(rounds[:n].mean() - 0.6) > 1.96 * np.sqrt(0.24 / (10 * n)) for n in range(2, 51))
        for rounds in runs(np.full(10, 0.6), repeats=300, length=50)
    ]
    assert np.mean(naive) > 0.15


def test_a_clear_difference_is_found_early():
    found = [verdict(rounds, 0.75) for rounds in runs(np.full(10, 0.9), repeats=200, length=15)]
    assert found.count("above") / len(found) > 0.9
    assert "below" not in found


def test_intervals_hold_at_every_look_together():
    missed = 0
    for rounds in runs(TASKS, repeats=40, length=20, seed=1):
        bounds = [confidence_interval(rounds[:n]) for n in (3, 10, 20)]
        missed += any(not low <= 0.6 <= high for low, high in bounds)
        assert bounds[-1][1] - bounds[-1][0] < bounds[0][1] - bounds[0][0]
    assert missed <= 2


def test_capital_by_hand():
    # A bet of the share c on a success against the mean 0.5 multiplies it by 1 + c; the shares' mean is 0.5.
    assert capital(np.array([[1.0]]), 0.5)[0] == pytest.approx(1.5)
    assert capital(np.array([[0.5]]), 0.5)[0] == pytest.approx(1.0)
    assert capital(np.zeros((0, 3)), 0.5).shape == (0,)
    with pytest.raises(ValueError, match=r"in 0\.\.1"):
        capital(np.array([[1.2]]), 0.5)
    with pytest.raises(ValueError, match="above 0"):
        capital(np.array([[1.0]]), 0.0)


def test_rounds_are_those_that_every_task_finished():
    solved = {("s", 0, 0): True, ("s", 1, 0): False, ("s", 0, 1): True}
    np.testing.assert_array_equal(complete_rounds(solved), [[1.0, 0.0]])
    np.testing.assert_array_equal(paired_rounds(solved, {**solved, ("s", 1, 0): True}), [[0.5, 1.0]])


def test_a_rule_stops_at_a_bar_or_against_another_policy():
    good = {("s", task, state): True for task in range(5) for state in range(12)}
    bad = dict.fromkeys(good, False)
    assert StopRule(bar=0.5).verdict(good, 5) == "above"
    assert StopRule(bar=0.5).verdict(bad, 5) == "below"
    assert StopRule(bar=0.5).verdict(good, 6) == "open"  # a task has no episode yet
    assert StopRule(against=good).verdict(bad, 5) == "below"
    assert StopRule(against=good).verdict(good, 5) == "open"
    with pytest.raises(ValueError, match="one of the two"):
        StopRule()
    with pytest.raises(ValueError, match="between 0 and 1"):
        StopRule(bar=75)


def test_tasks_are_the_sample_of_a_clustered_interval():
    same = [episode(task=task, number=n, success=n == 0) for task in range(2) for n in range(2)]
    assert clustered_interval(same) == (0.5, 0.5)
    apart = [episode(task=task, number=n, success=task == 0) for task in range(2) for n in range(50)]
    assert clustered_interval(apart) == (0.0, 1.0)
    assert clustered_interval(same[:2]) is None
