"""A run of golden tests that checks no vector is no success; INSPIRE_FAST_PARITY=<file> writes what the run compared.

Tests record the differences they saw (`record_property`); `make parity` writes them into docs/parity.md.
"""

from collections import defaultdict
import os
from pathlib import Path

import pytest

MARKER = "<!-- the table below is written by `make parity` -->"
_collected: set[str] = set()
_passed: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
"""(file, test) -> (what differed, by how much) of every case that passed; a case without figures was held exactly."""
_ran: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    _collected.update(i.nodeid for i in items if "tests/golden/" in i.nodeid and "[" in i.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "call" or report.skipped or report.nodeid not in _collected:
        return
    _ran.append(report.nodeid)
    if report.passed:
        file, _, name = report.nodeid.rpartition("/")[2].partition("::")
        test, _, case = name.rstrip("]").partition("[")
        figures = [(what, float(value)) for what, value in report.user_properties if isinstance(value, (int, float))]
        # Tests of single arrays are told apart by the array, which their case ends with.
        item = f"{test} {case.rpartition('-')[2]}" if test == "test_array" else test
        _passed[file, item].extend(figures or [("", 0.0)])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _collected and not _ran and session.exitstatus == pytest.ExitCode.OK:
        print("\nNo golden vector was checked: INSPIRE_FAST_GOLDEN names a folder without cases for these tests.")  # noqa: T201
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if target := os.environ.get("INSPIRE_FAST_PARITY"):
        path = Path(target)
        text = path.read_text(encoding="utf-8") if path.is_file() else MARKER
        path.write_text(text[: text.index(MARKER)] + MARKER + "\n\n" + "\n".join(_rows()) + "\n", encoding="utf-8")


def _rows() -> list[str]:
    rows = ["| test | item | cases | largest difference |", "|---|---|---|---|"]
    for (file, item), figures in sorted(_passed.items()):
        by_kind: dict[str, list[float]] = defaultdict(list)
        for what, value in figures:
            by_kind[what].append(value)
        for what, values in by_kind.items():
            words = item.removeprefix("test_array ").removeprefix("test_").replace("_", " ")
            named = f"{words}: {what}" if what and what != "largest difference" else words
            largest = f"{max(values):.2g}" if what else "exact, or within bounds"
            rows.append(f"| {file} | {named} | {len(values)} | {largest} |")
    return rows
