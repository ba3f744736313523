"""Text that breaks out of a page that does not escape it, and the check that a page did."""

from html.parser import HTMLParser

HOSTILE = "<script>alert(1)</script><img src=x onerror='alert(2)'>\"&'"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.found = 0, []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.found += [(tag, name) for name, value in attrs if name.startswith("on") or value == "x"]

    def handle_data(self, data: str) -> None:
        self.text += data


def require_harmless(page: str, *, shown: int, scripts: int = 0) -> None:
    """The page has its own scripts alone, and shows the hostile text at least `shown` times."""
    reader = _Reader()
    reader.feed(page)
    assert (reader.scripts, reader.found) == (scripts, [])
    assert reader.text.count(HOSTILE) >= shown
