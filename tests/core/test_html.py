"""Pages are escaped unless a caller says otherwise."""

from html.parser import HTMLParser
import io

import numpy as np
from PIL import Image
import pytest

from inspire_fast.core.html import Markup, data_uri, document, element, escape, figure, fill, image, lines, png, table
from tests.core.hostile import HOSTILE, require_harmless


def test_only_markup_is_taken_as_it_is() -> None:
    assert escape("<b>&'\"") == "&lt;b&gt;&amp;&#x27;&quot;"
    assert escape(Markup("<b>")) == "<b>"
    assert escape(None) == ""
    assert escape(["<", Markup("<br>"), 3, (None, 0.5)]) == "&lt;<br>30.5"
    assert isinstance(escape("a"), Markup)
    assert not isinstance(Markup("<b>") + "<i>", Markup), "what is added to it is text again"


def test_elements() -> None:
    assert element("p", "1 < 2", class_="note") == '<p class="note">1 &lt; 2</p>'
    assert element("video", muted=True, loop=False, src=None, data_src="a'b\"") == (
        '<video muted data-src="a&#x27;b&quot;"></video>'
    )
    assert element("br") == "<br>"
    assert lines(["<", element("br")]) == "&lt;<br><br>"
    assert figure("<", "x", class_="c") == '<figure class="c">x<figcaption class="note">&lt;</figcaption></figure>'


def test_fields_of_a_template_are_formatted_then_escaped() -> None:
    assert fill("<b>{a}</b> {b:.0%} {c!r}", a="<", b=0.5, c="<") == "<b>&lt;</b> 50% &#x27;&lt;&#x27;"
    assert fill("{a}{b}", a=element("i", "x"), b=[element("i", "y"), "&"]) == "<i>x</i><i>y</i>&amp;"


def test_tables_align_numbers_to_the_right() -> None:
    assert table(["a", "b"], [["<", 1]], numbers={1}) == (
        '<div class="wide"><table><tr><th>a</th><th class="n">b</th></tr>'
        '<tr><td>&lt;</td><td class="n">1</td></tr></table></div>'
    )


def test_pictures_are_inside_the_page() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(Image.open(io.BytesIO(png(pixels))), pixels)
    assert data_uri(b"ab", "text/plain") == "data:text/plain;base64,YWI="
    assert image(b"ab") == '<img alt="" src="data:image/png;base64,YWI=">'


@pytest.mark.parametrize("script", ["", "let a = 1 < 2;"])
def test_a_document_is_whole_and_escapes_everything(script: str) -> None:
    page = document(HOSTILE, HOSTILE, element("p", HOSTILE, id=HOSTILE), table([HOSTILE], [[HOSTILE]]), script=script)
    require_harmless(page, shown=6, scripts=bool(script))
    assert script in page
    opened: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            opened.extend([tag] * (tag not in ("meta", "html")))

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Reader().feed(page)
    assert not opened
