"""How right the answers were: by word, by phase of the episode, by distance, and what right answers were worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from inspire_fast.evaluation.records.records import AnswerRecord, EpisodeRecord, Phase
from inspire_fast.evaluation.report.statistics import Rate, wilson

PHASES: tuple[Phase, ...] = ("before", "carrying", "after")
DISTANCES_M = (0.06, 0.2, 0.3)  # the released code's close, near, middle, far


@dataclass(frozen=True, kw_only=True)
class Group:
    """A rate of something, and of what."""

    what: str
    rate: Rate


Judged = tuple[Phase | None, AnswerRecord]


def judged(records: Iterable[EpisodeRecord]) -> list[Judged]:
    """Every answer whose truth is known, with the phase it was given in.

    Answers of one episode resemble each other: intervals over them are narrower than the episodes justify.
    """
    return [(c.phase, a) for r in records for c in r.calls for a in c.answers if a.truth is not None]


def by_word(answers: Sequence[Judged]) -> list[Group]:
    """Per true word: how often it was said. The commonest first."""
    counts = Counter(str(a.truth) for _, a in answers)
    return [_group(word, answers, lambda _, a, word=word: a.truth == word) for word, _ in counts.most_common()]


def by_phase(answers: Sequence[Judged]) -> list[Group]:
    """Before anything was grasped, carrying, after."""
    return [_group(phase, answers, lambda p, _, phase=phase: p == phase) for phase in PHASES]


def by_distance(answers: Sequence[Judged]) -> list[Group]:
    """By how far the target was from the gripper, metres."""
    edges = (0.0, *DISTANCES_M, float("inf"))
    groups = []
    for low, high in pairwise(edges):
        name = f"{low:g} m and more" if high == float("inf") else f"{low:g} to {high:g} m"
        groups.append(
            _group(
                name,
                answers,
                lambda _, a, low=low, high=high: a.distance_m is not None and low <= a.distance_m < high,
            )
        )
    return groups


def by_target(answers: Sequence[Judged]) -> list[Group]:
    """Per phrase of the instructions, the commonest first."""
    counts = Counter(a.target for _, a in answers)
    return [_group(name, answers, lambda _, a, name=name: a.target == name) for name, _ in counts.most_common()]


def confusion(answers: Sequence[Judged]) -> list[tuple[str, str, int]]:
    """(truth, answer, how often), without the pairs that never occurred."""
    counts = Counter((str(a.truth), a.answer) for _, a in answers)
    return [(truth, answer, count) for (truth, answer), count in sorted(counts.items())]


def calibration(answers: Sequence[Judged], bins: int = 5) -> list[Group]:
    """By the probability that the model gave: a calibrated one is right as often as it says."""
    groups = []
    for n in range(bins):
        low, high = n / bins, (n + 1) / bins

        def inside(_: Phase | None, a: AnswerRecord, low: float = low, high: float = high) -> bool:
            return low < a.probability <= high or (low == 0 and a.probability == 0)

        groups.append(_group(f"said {low:.0%} to {high:.0%}", answers, inside))
    return groups


def success_by_answers(records: Sequence[EpisodeRecord]) -> list[Group]:
    """Success of the episodes by how many of their answers were right.

    What goes together need not be cause and effect: easy episodes have both. The oracle and the liar tell them apart.
    """
    shares = [(r, share) for r in records if (share := _share_right(r)) is not None]
    groups = (
        ("at least 9 of 10 right", 0.9, 1.1),
        ("half to 9 of 10 right", 0.5, 0.9),
        ("less than half right", -0.1, 0.5),
    )
    return [
        Group(
            what=what,
            rate=wilson(
                sum(r.success for r, s in shares if low <= s < high), sum(1 for _, s in shares if low <= s < high)
            ),
        )
        for what, low, high in groups
    ]


def _share_right(record: EpisodeRecord) -> float | None:
    given = [bool(a.right) for _, a in judged([record])]
    return sum(given) / len(given) if given else None


def _group(what: str, answers: Sequence[Judged], belongs: Callable[[Phase | None, AnswerRecord], bool]) -> Group:
    mine = [bool(a.right) for phase, a in answers if belongs(phase, a)]
    return Group(what=what, rate=wilson(sum(mine), len(mine)))
