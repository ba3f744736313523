"""HTML pages with everything inside one file; text is escaped unless it is `Markup`.

element("p", "1 < 2", class_="note")                  # <p class="note">1 &lt; 2</p>
fill("<b>{name}</b> solved {share:.0%}", name=name, share=0.5)
document("Title", element("h2", "Results"), table(["task", "solved"], rows, numbers={1}))
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Sequence
import html
import io
import string
from typing import IO, Any, Protocol, cast

import numpy as np
from PIL import Image

# The same for every page; what one page alone needs is given to `document`.
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{margin-bottom:.2rem} h2{margin-top:2.2rem} .note{color:#666} img,video{max-width:100%} figure{margin:0}
.warn{background:#fff3d6;padding:.5rem .8rem;border-radius:6px} .good,.best{color:#1b7f3b} .bad{color:#b3362b}
.wide{overflow-x:auto;margin:.3rem 0 1.1rem} table{border-collapse:collapse;font-size:.92rem}
td,th{padding:.3rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
"""
_VOID = ("br", "img", "input", "meta")


class Markup(str):
    """Text that is HTML already. Make one with `element` or `fill`; the constructor is for constants."""

    __slots__ = ()


Content = Any
"""`Markup` is kept, None is empty, lists and generators are joined, all else is converted to text and escaped."""


def escape(content: Content) -> Markup:
    """HTML that shows `content`, also inside a quoted attribute."""
    if isinstance(content, Markup):
        return content
    if content is None:
        return Markup()
    if isinstance(content, Iterable) and not isinstance(content, str):
        return Markup("".join(map(escape, cast("Iterable[Content]", content))))
    return Markup(html.escape(str(content)))


def element(name: str, *content: Content, **attributes: object) -> Markup:
    """One element. `class_` and `data_src` give the attributes `class` and `data-src`; None and False leave one out."""
    begin = name
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        if value is True:
            begin += f" {attribute}"
        elif value is not None and value is not False:
            begin += f' {attribute}="{escape(value)}"'
    return Markup(f"<{begin}>" if name in _VOID else f"<{begin}>{escape(content)}</{name}>")


class _EscapingFormatter(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        return escape(format(value, format_spec) if format_spec else value)


def fill(template: str, **fields: Content) -> Markup:
    """A constant HTML template with `{fields}`, as of `str.format`, each escaped after it is formatted."""
    return Markup(_EscapingFormatter().vformat(template, (), fields))


def note(*content: Content) -> Markup:
    """A grey paragraph."""
    return element("p", *content, class_="note")


def lines(items: Iterable[Content]) -> Markup:
    """Items on lines of their own."""
    return Markup("<br>".join(map(escape, items)))


def table(head: Sequence[Content], rows: Iterable[Sequence[Content]], *, numbers: Collection[int] = ()) -> Markup:
    """A table; columns in `numbers` are aligned to the right."""

    def row(tag: str, cells: Sequence[Content]) -> Markup:
        return element("tr", (element(tag, c, class_="n" if i in numbers else None) for i, c in enumerate(cells)))

    return element("div", element("table", row("th", head), (row("td", cells) for cells in rows)), class_="wide")


def image(data: bytes, **attributes: object) -> Markup:
    """A PNG inside the page."""
    return element("img", alt="", **attributes, src=data_uri(data, "image/png"))


class Plot(Protocol):
    """The part of matplotlib's `Figure` that pages need."""

    def savefig(self, file: IO[bytes], /, *, format: str, dpi: int) -> object:
        """Writes the figure to a file."""
        ...


def plot(drawn: Plot) -> Markup:
    """A figure of matplotlib inside the page."""
    target = io.BytesIO()
    drawn.savefig(target, format="png", dpi=100)
    return image(target.getvalue())


def figure(caption: Content, *content: Content, class_: str | None = None) -> Markup:
    """Content with a caption below it."""
    return element("figure", *content, element("figcaption", caption, class_="note"), class_=class_)


def png(pixels: np.ndarray) -> bytes:
    """An image, uint8 `[h, w, 3]` (or 4 channels with opacity), as a PNG file."""
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, format="png")
    return target.getvalue()


def data_uri(data: bytes, kind: str) -> str:
    """A file as a URI that holds it; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def document(title: str, *content: Content, heading: str | None = None, style: str = "", script: str = "") -> str:
    """A whole page.

    Args:
        title: of the browser's window, and above the content where there is no other heading.
        content: one part after the other.
        heading: see above.
        style: further CSS, a constant.
        script: JavaScript that runs when all is there, a constant.
    """
    parts = [
        Markup('<!doctype html><html lang="en"><meta charset="utf-8">'),
        element("title", title),
        Markup(f"<style>{STYLE}{style}</style>"),
        element("h1", heading or title),
        *content,
        Markup(f"<script>{script}</script>") if script else None,
    ]
    return "\n".join(filter(None, map(escape, parts))) + "\n"
