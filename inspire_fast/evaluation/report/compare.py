"""Paired comparison of two evaluations, episode by episode."""

from __future__ import annotations

from collections.abc import Sequence

from inspire_fast.core.html import Markup, element, note, table
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.rates import percent
from inspire_fast.evaluation.report.statistics import Paired, compare, difference_text, episodes_needed

_SIGNIFICANT = 0.05


def comparison(first: Sequence[EpisodeRecord], second: Sequence[EpisodeRecord], name: str) -> list[Markup]:
    """The section of the report: suite by suite, then all common episodes.

    Raises:
        ValueError: no common episode, or different protocols, whose episodes differ.
    """
    protocols = {r.protocol for r in first}, {r.protocol for r in second}
    if protocols[0] != protocols[1]:
        raise ValueError(
            f"Evaluations with different protocols cannot be paired: {sorted(protocols[0])}, {sorted(protocols[1])}."
        )
    paired = _pair(first, second)
    if not paired.episodes:
        raise ValueError(f"The evaluation has no episode in common with {name}.")
    suites = list(dict.fromkeys(r.suite for r in first))
    body = [
        _row(suite, _pair([r for r in first if r.suite == suite], [r for r in second if r.suite == suite]))
        for suite in suites
    ]
    head = [
        "",
        "episodes",
        "both",
        "only this",
        "only the other",
        "neither",
        "other − this, points",
        "p (exact McNemar)",
    ]
    return [
        element("h2", "Compared with ", name),
        element("p", _verdict(paired)),
        table(head, [*body, _row("all", paired)], numbers=range(1, 8)),
        note(
            "Both have the same initial states. With a p-value per suite, one of twenty suites is below 0.05 by chance."
        ),
    ]


def _pair(first: Sequence[EpisodeRecord], second: Sequence[EpisodeRecord]) -> Paired:
    return compare({r.key: r.success for r in first}, {r.key: r.success for r in second})


def _row(what: str, paired: Paired) -> list[str]:
    counts = (paired.episodes, paired.both, paired.only_first, paired.only_second, paired.neither)
    return [what, *map(str, counts), difference_text(paired), f"{paired.p_value:.3g}"]


def _verdict(paired: Paired) -> str:
    difference = paired.difference or 0.0
    agreement = (paired.both + paired.neither) / paired.episodes
    points, more = 100 * abs(difference), "more" if difference > 0 else "fewer"
    seen = (
        f"Of {paired.episodes} common episodes the other solves {points:.1f} percentage points {more}; they agree on "
        f"{percent(agreement)}."
    )
    if paired.p_value < _SIGNIFICANT:
        return f"{seen} Such an uneven split is unlikely for equal policies (p = {paired.p_value:.2g})."
    if not difference:
        return f"Of {paired.episodes} common episodes both solve the same number; they agree on {percent(agreement)}."
    rate = (paired.both + paired.only_first) / paired.episodes
    needed = episodes_needed(rate, difference, agreement=agreement)
    return (
        f"{seen} That may be chance (p = {paired.p_value:.2g}); if the difference is real, {needed} common episodes "
        "would show it with 80 % probability."
    )
