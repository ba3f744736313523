"""Findings of a check, and their table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was checked.

    Attributes:
        level: `FAIL`: nothing may move like this; `warn`: a person decides.
        part: of the workstation, e.g. a camera's key.
        check: what was checked, e.g. `rate`.
        says: what was measured, and what was expected.
        do: what to do about it; empty if it is ok.
    """

    level: Level
    part: str
    check: str
    says: str
    do: str = ""


def judged(part: str, check: str, says: str, *, fails: bool = False, warns: bool = False, do: str = "") -> Finding:
    """A finding whose level follows from two conditions."""
    level: Level = "FAIL" if fails else "warn" if warns else "ok"
    return Finding(level=level, part=part, check=check, says=says, do=do if level != "ok" else "")


def table(findings: Iterable[Finding]) -> str:
    """One line per finding, in columns; only the first line of what it says."""
    rows = [(one.level, one.part, one.check, one.says.partition("\n")[0]) for one in findings]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return "\n".join(
        "  ".join([*(word.ljust(width) for word, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


def messages(findings: Sequence[Finding]) -> str:
    """What fails, and what is warned of: one message each, with what to do."""
    told = [one for level in ("FAIL", "warn") for one in findings if one.level == level]
    return "\n".join(
        f"{one.level}: {one.part}, {one.check}: {one.says}" + f"\n  -> {one.do}" * bool(one.do) for one in told
    )
