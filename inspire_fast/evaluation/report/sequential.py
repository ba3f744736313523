"""Sequential tests of success rates, which stay valid however often one looks and whenever one stops.

A bettor bets against a hypothesis about the mean of values in 0..1. Under the hypothesis the capital (1 at the start)
reaches `1 / level` with probability `level` at most, at any time (Ville's inequality); Waudby-Smith & Ramdas 2024,
"Estimating means of bounded random variables by betting".

An evaluation goes through *rounds*: one initial state of every task. Tasks differ, and the hypothesis is about their
mean. With the same bet on each episode of a round, the expected factor of the round is the product of the tasks'
factors, which by the inequality of arithmetic and geometric means is largest for equal tasks. So the capital after
complete rounds needs no assumption about the tasks; initial states are a sample of those that the task draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from inspire_fast.evaluation.records.records import EpisodeRecord, Key

_BETS = np.linspace(0.05, 0.95, 10)  # shares of the largest possible bet; the capital is their average

Verdict = Literal["above", "below", "open"]


def capital(rounds: np.ndarray, mean: float) -> np.ndarray:
    """Capital of bets against "the mean is `mean` or less", after each round.

    Args:
        rounds: `[n, tasks]`, values in 0..1.
        mean: of the hypothesis, above 0.

    Returns:
        `[n]`.

    Raises:
        ValueError: values outside 0..1, or a mean of 0 or less.
    """
    if rounds.size and not (rounds.min() >= 0 and rounds.max() <= 1):
        raise ValueError(f"Values must be in 0..1; got {rounds.min()} to {rounds.max()}.")
    if mean <= 0:
        raise ValueError(f"The mean of the hypothesis must be above 0; got {mean}.")
    factors = 1 + _BETS[:, None, None] * (rounds / mean - 1)
    return np.cumprod(factors.prod(axis=2), axis=1).mean(axis=0)


def verdict(rounds: np.ndarray, bar: float, *, level: float = 0.05) -> Verdict:
    """Whether the mean has been shown to be above or below a bar, at any look so far.

    Both directions together err with probability `level` at most.
    """
    if (capital(rounds, bar) >= 2 / level).any():
        return "above"
    if (capital(1 - rounds, 1 - bar) >= 2 / level).any():
        return "below"
    return "open"


def confidence_interval(rounds: np.ndarray, *, level: float = 0.05) -> tuple[float, float]:
    """The means that no look so far has refuted: a confidence sequence, valid at all times together."""

    def bound(values: np.ndarray) -> float:
        """The largest refuted mean, by bisection: whatever refutes a mean refutes every smaller one."""
        low, high = 0.0, 1.0
        for _ in range(12):
            middle = (low + high) / 2
            refuted = (capital(values, middle) >= 2 / level).any()
            low, high = (middle, high) if refuted else (low, middle)
        return low

    return bound(rounds), 1 - bound(1 - rounds)


def complete_rounds(successes: Mapping[Key, bool]) -> np.ndarray:
    """`[n, tasks]`: success in every round that all tasks have finished, in order of the initial states."""
    tasks = sorted({key[:2] for key in successes})
    states = [e for e in sorted({key[2] for key in successes}) if all((*task, e) in successes for task in tasks)]
    return np.array([[successes[*task, e] for task in tasks] for e in states], float).reshape(len(states), len(tasks))


def paired_rounds(first: Mapping[Key, bool], second: Mapping[Key, bool]) -> np.ndarray:
    """Rounds of the difference second - first, moved from -1..1 to 0..1: equally good policies have the mean 0.5."""
    common = first.keys() & second.keys()
    before, after = (complete_rounds({key: solved[key] for key in common}) for solved in (first, second))
    return (after - before + 1) / 2


@dataclass(frozen=True, kw_only=True)
class StopRule:
    """Rule that ends an evaluation early.

    Attributes:
        bar: ends when the success rate is shown to be above or below it.
        against: successes of another policy under the same protocol; ends when one is shown to be better.
        level: probability of a wrong end.
    """

    bar: float | None = None
    against: Mapping[Key, bool] | None = None
    level: float = 0.05

    def __post_init__(self) -> None:
        if (self.bar is None) == (self.against is None):
            raise ValueError("An evaluation stops at a bar or against another evaluation; give one of the two.")
        if self.bar is not None and not 0 < self.bar < 1:
            raise ValueError(f"The bar is a success rate between 0 and 1; got {self.bar}.")

    def verdict(self, successes: Mapping[Key, bool], tasks: int) -> Verdict:
        """The verdict of the rounds that all `tasks` have finished; `open` before the first."""
        if len({key[:2] for key in successes}) < tasks:
            return "open"
        if self.against is None:
            return verdict(complete_rounds(successes), self.bar or 0.5, level=self.level)
        return verdict(paired_rounds(self.against, successes), 0.5, level=self.level)


def clustered_interval(records: Sequence[EpisodeRecord], *, confidence: float = 0.95) -> tuple[float, float] | None:
    """Interval of the mean success over *tasks like these*: tasks are the sample, not their episodes (Student's t).

    A suite's Wilson interval holds for its own tasks; this one says what another draw of tasks would give. None with
    fewer than two tasks.
    """
    by_task: dict[tuple[str, int], list[bool]] = {}
    for record in records:
        by_task.setdefault((record.suite, record.task), []).append(record.success)
    means = np.array([np.mean(solved) for solved in by_task.values()])
    if len(means) < 2:
        return None
    half = stats.t.ppf((1 + confidence) / 2, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return float(max(0.0, means.mean() - half)), float(min(1.0, means.mean() + half))
