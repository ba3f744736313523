"""A run of golden tests that checks no vector is no success; INSPIRE_FAST_PARITY=<file> writes what the run compared.

`make parity` does so for docs/parity.md.
"""

import os
from pathlib import Path

import pytest

from tests.golden.cases import SEEN

MARKER = "<!-- the table below is written by `make parity` -->"
_ran: list[str] = []
_collected: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    _collected.extend(i.nodeid for i in items if "tests/golden/" in i.nodeid and "[" in i.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and not report.skipped and report.nodeid in _collected:
        _ran.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _collected and not _ran and session.exitstatus == pytest.ExitCode.OK:
        print("\nNo golden vector was checked: INSPIRE_FAST_GOLDEN names a folder without cases for these tests.")  # noqa: T201
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if target := os.environ.get("INSPIRE_FAST_PARITY"):
        path = Path(target)
        text = path.read_text() if path.is_file() else MARKER
        path.write_text(text[: text.index(MARKER)] + MARKER + "\n\n" + "\n".join(_rows()) + "\n")


def _rows() -> list[str]:
    seen = sorted(SEEN.items(), key=lambda row: row[0][::-1])
    return [
        "| vectors | item | numbers | largest difference | tolerance |",
        "|---|---|---|---|---|",
        *(f"| `{v}` | {item} | {count:,} | {largest:.2g} | {bound} |" for (item, v), (count, largest, bound) in seen),
    ]
