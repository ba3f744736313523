"""Accuracy of the answers: by word, phase, distance, target and probability, and success by accuracy."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
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
    """All answers in words with a known truth, each with its phase; for places see `locations`.

    Answers of one episode are correlated: intervals over them are narrower than the episodes justify.
    """
    return [(c.phase, a) for r in records for c in r.calls for a in c.answers if a.truth is not None and not a.is_place]


def accuracy(answers: Sequence[Judged]) -> float | None:
    """Share of right answers; None without answers."""
    return sum(bool(a.right) for _, a in answers) / len(answers) if answers else None


def majority(answers: Sequence[Judged]) -> float | None:
    """Accuracy of the best constant answer; None without answers."""
    return max(Counter(a.truth for _, a in answers).values()) / len(answers) if answers else None


def by_word(answers: Sequence[Judged]) -> list[Group]:
    """Accuracy per true word, the most frequent first."""
    words = Counter(str(a.truth) for _, a in answers).most_common()
    return _groups(answers, lambda _, a: str(a.truth), [word for word, _ in words])


def by_phase(answers: Sequence[Judged]) -> list[Group]:
    """Accuracy before an object was grasped, while carrying it, and after."""
    return _groups(answers, lambda phase, _: phase, PHASES)


def by_distance(answers: Sequence[Judged]) -> list[Group]:
    """Accuracy by the distance from gripper to target, metres."""
    names = [f"{low:g} to {high:g} m" for low, high in pairwise((0.0, *DISTANCES_M))]
    names.append(f"{DISTANCES_M[-1]:g} m and more")
    known: list[Judged] = [(phase, a) for phase, a in answers if a.distance_m is not None]
    return _groups(known, lambda _, a: names[bisect_right(DISTANCES_M, a.distance_m or 0.0)], names)


def by_target(answers: Sequence[Judged]) -> list[Group]:
    """Accuracy per phrase of the instructions, the most frequent first."""
    targets = Counter(a.target for _, a in answers).most_common()
    return _groups(answers, lambda _, a: a.target, [name for name, _ in targets])


def confusion(answers: Sequence[Judged]) -> list[tuple[str, str, int]]:
    """(truth, answer, count), without pairs that never occurred."""
    counts = Counter((str(a.truth), a.answer) for _, a in answers)
    return [(truth, answer, count) for (truth, answer), count in sorted(counts.items())]


def calibration(answers: Sequence[Judged], bins: int = 5) -> list[Group]:
    """Accuracy by the model's probability; both are equal for a calibrated model."""
    edges = [n / bins for n in range(bins + 1)]
    names = [f"said {low:.0%} to {high:.0%}" for low, high in pairwise(edges)]
    return _groups(answers, lambda _, a: names[bisect_left(edges[1:], a.probability)], names)


def success_by_answers(records: Sequence[EpisodeRecord]) -> list[Group]:
    """Success rate of episodes by the share of right answers.

    Correlation is not cause: easy episodes may have both. Forced right and wrong answers tell the difference.
    """
    shares = [(r.success, share) for r in records if (share := accuracy(judged([r]))) is not None]
    groups: dict[str, list[bool]] = {
        "at least 9 of 10 right": [success for success, share in shares if share >= 0.9],
        "half to 9 of 10 right": [success for success, share in shares if 0.5 <= share < 0.9],
        "less than half right": [success for success, share in shares if share < 0.5],
    }
    return [Group(what=what, rate=wilson(sum(mine), len(mine))) for what, mine in groups.items()]


def _groups(
    answers: Sequence[Judged], name_of: Callable[[Phase | None, AnswerRecord], str | None], names: Sequence[str]
) -> list[Group]:
    """Accuracy of the answers of each name, in the order of `names`; answers without a name count nowhere."""
    right: dict[str, list[bool]] = {name: [] for name in names}
    for phase, answer in answers:
        if (name := name_of(phase, answer)) is not None:
            right[name].append(bool(answer.right))
    return [Group(what=name, rate=wilson(sum(mine), len(mine))) for name, mine in right.items()]
