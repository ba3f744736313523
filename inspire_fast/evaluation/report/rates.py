"""Success rates in tables: count, share, Wilson interval in numbers and as a bar."""

from __future__ import annotations

from inspire_fast.core.html import Content, Markup, fill
from inspire_fast.evaluation.report.statistics import Rate

RATE_HEAD = ("count", "rate", "95 % interval", "")


def percent(share: float | None) -> str:
    """`62.5%`, or a dash for None."""
    return "–" if share is None else f"{share:.1%}"


def rate_cells(rate: Rate) -> list[Content]:
    """Cells of a rate: count, share, the interval in numbers and as a bar."""
    return [
        f"{rate.successes} of {rate.trials}",
        percent(rate.share),
        f"{rate.low:.1%} – {rate.high:.1%}" if rate.trials else "–",
        bar(rate),
    ]


def bar(rate: Rate, width: int = 160) -> Markup:
    """The interval on a line from 0 to 1, with the rate as a dot."""
    if rate.share is None:
        return Markup()
    low, high, middle = (round(value * width) for value in (rate.low, rate.high, rate.share))
    return fill(
        "<svg width={outer} height=12 role=img aria-label='{share:.1%}'><g transform='translate(4,6)'>"
        "<path d='M0 0H{width}' stroke='#e3e3e3' stroke-width=2 /><path d='M{low} 0H{high}' stroke='#5b8ec9' "
        "stroke-width=4 /><circle cx={middle} r=4 fill='#1d4e89' /></g></svg>",
        outer=width + 8,
        share=rate.share,
        width=width,
        low=low,
        high=high,
        middle=middle,
    )
