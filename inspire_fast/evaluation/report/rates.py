"""Pieces of self-contained pages: the style, tables, bars, data inside the page."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
import html

from inspire_fast.evaluation.report.statistics import Rate

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{margin-bottom:.2rem} h2{margin-top:2.2rem} .note{color:#666}
table{border-collapse:collapse;width:100%;font-size:.92rem} td,th{padding:.3rem .6rem;border-bottom:1px solid #ddd;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:1rem;margin:1.2rem 0}
.card{border:1px solid #ddd;border-radius:8px;padding:.8rem 1rem} .card b{font-size:1.7rem;display:block}
.good{color:#1b7f3b} .bad{color:#b3362b}
.films{display:grid;grid-template-columns:repeat(auto-fit,minmax(24rem,1fr));gap:1rem} video,img{max-width:100%}
"""


def table(head: Sequence[str], body: Sequence[Sequence[str]], *, numbers: Collection[int]) -> str:
    """Columns in `numbers` are aligned to the right. Cells that are `Markup` stand as they are, others are escaped."""

    def cell(tag: str, index: int, text: str) -> str:
        shown = text if isinstance(text, Markup) else html.escape(text)
        return f"<{tag}{' class=n' if index in numbers else ''}>{shown}</{tag}>"

    rows = ["".join(cell("th", i, t) for i, t in enumerate(head))]
    rows += ["".join(cell("td", i, t) for i, t in enumerate(row)) for row in body]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def percent(share: float | None) -> str:
    """`62.5%`, or a dash where there is nothing to count."""
    return "–" if share is None else f"{share:.1%}"


def rate_cells(rate: Rate) -> list[str]:
    """How many, which share, the interval in numbers and as a bar: what every table of rates shows."""
    return [
        f"{rate.successes} of {rate.trials}",
        percent(rate.share),
        f"{rate.low:.1%} – {rate.high:.1%}" if rate.trials else "–",
        bar(rate),
    ]


RATE_HEAD = ("count", "rate", "95 % interval", "")


def bar(rate: Rate, width: int = 160) -> Markup:
    """The interval as a line from 0 to 1 with the rate as a dot."""
    if rate.share is None:
        return Markup("")
    low, high, middle = (round(value * width) for value in (rate.low, rate.high, rate.share))
    return Markup(
        f"<svg width={width + 8} height=12 role=img aria-label='{rate.share:.1%}'><g transform='translate(4,6)'>"
        f"<path d='M0 0H{width}' stroke='#e3e3e3' stroke-width=2 />"
        f"<path d='M{low} 0H{high}' stroke='#5b8ec9' stroke-width=4 /><circle cx={middle} r=4 fill='#1d4e89' /></g></svg>"
    )


def data_uri(data: bytes, kind: str) -> str:
    """A file inside the page."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
