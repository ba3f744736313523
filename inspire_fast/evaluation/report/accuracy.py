"""Accuracy of the answers: by word, phase, distance, target and probability, and success by accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from inspire_fast.evaluation.records.records import AnswerRecord, EpisodeRecord, Phase
from inspire_fast.evaluation.report.statistics import Rate, wilson

PHASES: tuple[Phase, ...] = ("before", "carrying", "after")
DISTANCES_M = (0.06, 0.2, 0.3)  # close, near, middle, far in InSpire's released code


@dataclass(frozen=True, kw_only=True)
class Group:
    """A named rate."""

    what: str
    rate: Rate


Judged = tuple[Phase | None, AnswerRecord]


def judged(records: Iterable[EpisodeRecord]) -> list[Judged]:
    """All answers with a known truth, each with its phase.

    Answers of one episode are correlated: intervals over them are narrower than the episodes justify.
    """
    return [(c.phase, a) for r in records for c in r.calls for a in c.answers if a.truth is not None]


def accuracy(answers: Sequence[Judged]) -> float | None:
    """Share of right answers; None without answers."""
    return sum(bool(a.right) for _, a in answers) / len(answers) if answers else None


def majority(answers: Sequence[Judged]) -> float | None:
    """Accuracy of the best constant answer; None without answers."""
    return max(Counter(a.truth for _, a in answers).values()) / len(answers) if answers else None


def by_word(answers: Sequence[Judged]) -> list[Group]:
    """Accuracy per true word, the most frequent first."""
    counts = Counter(str(a.truth) for _, a in answers)
    return [_group(word, answers, lambda _, a, word=word: a.truth == word) for word, _ in counts.most_common()]


def by_phase(answers: Sequence[Judged]) -> list[Group]:
    """Accuracy before an object was grasped, while carrying it, and after."""
    return [_group(phase, answers, lambda p, _, phase=phase: p == phase) for phase in PHASES]


def by_distance(answers: Sequence[Judged]) -> list[Group]:
    """Accuracy by the distance from gripper to target, metres."""
    edges = (0.0, *DISTANCES_M, float("inf"))
    groups = []
    for low, high in pairwise(edges):
        name = f"{low:g} m and more" if high == float("inf") else f"{low:g} to {high:g} m"
        groups.append(
            _group(
                name, answers, lambda _, a, low=low, high=high: a.distance_m is not None and low <= a.distance_m < high
            )
        )
    return groups


def by_target(answers: Sequence[Judged]) -> list[Group]:
    """Accuracy per phrase of the instructions, the most frequent first."""
    counts = Counter(a.target for _, a in answers)
    return [_group(name, answers, lambda _, a, name=name: a.target == name) for name, _ in counts.most_common()]


def confusion(answers: Sequence[Judged]) -> list[tuple[str, str, int]]:
    """(truth, answer, count), without pairs that never occurred."""
    counts = Counter((str(a.truth), a.answer) for _, a in answers)
    return [(truth, answer, count) for (truth, answer), count in sorted(counts.items())]


def calibration(answers: Sequence[Judged], bins: int = 5) -> list[Group]:
    """Accuracy by the model's probability; both are equal for a calibrated model."""
    groups = []
    for n in range(bins):
        low, high = n / bins, (n + 1) / bins

        def inside(_: Phase | None, a: AnswerRecord, low: float = low, high: float = high) -> bool:
            return low < a.probability <= high or (low == 0 and a.probability == 0)

        groups.append(_group(f"said {low:.0%} to {high:.0%}", answers, inside))
    return groups


def success_by_answers(records: Sequence[EpisodeRecord]) -> list[Group]:
    """Success rate of episodes by the share of right answers.

    Correlation is not cause: easy episodes may have both. Forced right and wrong answers tell the difference.
    """
    shares = [(r.success, share) for r in records if (share := accuracy(judged([r]))) is not None]
    groups = []
    for what, low, high in (
        ("at least 9 of 10 right", 0.9, 1.1),
        ("half to 9 of 10 right", 0.5, 0.9),
        ("less than half right", -0.1, 0.5),
    ):
        mine = [success for success, share in shares if low <= share < high]
        groups.append(Group(what=what, rate=wilson(sum(mine), len(mine))))
    return groups


def _group(what: str, answers: Sequence[Judged], belongs: Callable[[Phase | None, AnswerRecord], bool]) -> Group:
    mine = [bool(a.right) for phase, a in answers if belongs(phase, a)]
    return Group(what=what, rate=wilson(sum(mine), len(mine)))
