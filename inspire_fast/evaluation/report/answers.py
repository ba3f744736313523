"""The section of answers in an evaluation's report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inspire_fast.core.html import Markup, element, fill, note, table
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.accuracy import (
    Group,
    by_distance,
    by_phase,
    by_target,
    by_word,
    calibration,
    confusion,
    judged,
    majority,
    success_by_answers,
)
from inspire_fast.evaluation.report.rates import RATE_HEAD, rate_cells
from inspire_fast.evaluation.report.statistics import wilson

CONFUSION_STYLE = """
.heat td{text-align:center;border:1px solid #fff} .heat th{font-weight:400}
"""
_WORDS = 20  # a larger matrix is unreadable
_TARGETS = 20


def answers_section(records: Sequence[EpisodeRecord], *, forced: bool) -> list[Markup]:
    """Accuracy in total, by groups and as a confusion matrix, and success by accuracy.

    Args:
        records: of the evaluation.
        forced: the answers were not the policy's own.
    """
    given = judged(records)
    if not given:
        return [element("h2", "Answers"), note("No answer has a known truth.")]
    caveat = " They were forced, so their accuracy is not the policy's." if forced else ""
    right = wilson(sum(bool(a.right) for _, a in given), len(given))
    groups = {
        "true word": by_word(given),
        "phase": by_phase(given),
        "distance": by_distance(given),
        "probability given": calibration(given),
        "target": by_target(given)[:_TARGETS],
    }
    return [
        element("h2", "Answers"),
        fill(
            "<p>{right} of {all} answers agree with the simulator's truth at that moment: <b>{share:.1%}</b>; the most "
            "frequent answer alone would be right in {commonest:.1%}.{caveat} <span class=note>Answers of one episode "
            "are correlated, so the intervals below are too narrow.</span></p>",
            right=right.successes,
            all=right.trials,
            share=right.share,
            commonest=majority(given),
            caveat=caveat,
        ),
        element("h3", "Rows: the truth; columns: the answer"),
        confusion_table(confusion(given)),
        *(_groups(name, group) for name, group in groups.items()),
        element("h3", "Success by accuracy of the episode's answers"),
        note("Easy episodes may have both; forced right and wrong answers (--answers) tell cause from coincidence."),
        _groups("episodes with", success_by_answers(records)),
    ]


def _groups(name: str, groups: Sequence[Group]) -> Markup:
    return table([name, *RATE_HEAD], [[g.what, *rate_cells(g.rate)] for g in groups], numbers={1, 2, 3})


def confusion_table(pairs: Iterable[tuple[str, str, int]]) -> Markup:
    """Counts of (truth, answer) as a matrix; the page needs `CONFUSION_STYLE`."""
    counts = {(truth, answer): n for truth, answer, n in pairs}
    words = sorted({word for pair in counts for word in pair})
    if len(words) > _WORDS:  # answers are numbers
        return note(f"{len(words)} different answers: too many for a matrix.")
    body = []
    for truth in words:
        total = sum(counts.get((truth, w), 0) for w in words)
        body.append([truth, *(_heat(counts.get((truth, w), 0), total, right=w == truth) for w in words)])
    return element("div", table(["", *words], body), class_="heat")


def _heat(count: int, total: int, *, right: bool) -> Markup:
    if not count:
        return Markup()
    red, green, blue = (27, 127, 59) if right else (179, 54, 43)
    return element("div", count, style=f"background:rgba({red},{green},{blue},{0.1 + 0.6 * count / total:.2f})")
