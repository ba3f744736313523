"""Markdown: prose lines end at 120 characters."""

from pathlib import Path
import re

import pytest

WIDTH = 120
# Documents that are wrapped; a new one belongs here.
WRAPPED = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "docs/acting.md",
    "docs/concepts.md",
    "docs/data.md",
    "docs/decoding.md",
    "docs/docker.md",
    "docs/evaluation.md",
    "docs/experts.md",
    "docs/figures.md",
    "docs/gallery.md",
    "docs/index.md",
    "docs/install.md",
    "docs/log.md",
    "docs/migrate.md",
    "docs/openpi.md",
    "docs/parity.md",
    "docs/quickstart.md",
    "docs/robots.md",
    "docs/scaling.md",
    "docs/serving.md",
    "docs/st4vla.md",
    "docs/study.md",
    "docs/training.md",
    "examples/aloha_real/README.md",
    "examples/aloha_sim/README.md",
    "examples/droid/README.md",
    "examples/franka/README.md",
    "examples/simple_client/README.md",
    "examples/simpler_env/README.md",
    "third_party/openpi/README.md",
    "third_party/openpi/inspire_in_openpi.md",
    "third_party/openpi/vectors.md",
]


def long_lines(text: str) -> list[int]:
    """Numbers of the lines over 120 characters, without tables, code blocks, and the addresses of links."""
    found, code = [], False
    for number, line in enumerate(text.splitlines(), 1):
        code ^= line.lstrip().startswith("```")
        prose = re.sub(r"\]\([^)]*\)|https?://\S+", "]", line)
        if len(prose) > WIDTH and not code and not line.lstrip().startswith("|"):
            found.append(number)
    return found


@pytest.mark.parametrize("name", WRAPPED)
def test_prose_lines_end_at_120(root: Path, name: str) -> None:
    assert long_lines((root / name).read_text(encoding="utf-8")) == []


def test_tables_code_and_addresses_may_be_longer() -> None:
    wide = "x" * 121
    text = f"{wide}\n| {wide} |\n```\n{wide}\n```\n[a link](https://example.org/{wide})\nword {wide}\n"
    assert long_lines(text) == [1, 7]


def test_rules_against_silent_faults_name_places_and_tests_that_exist(root: Path) -> None:
    section = (
        (root / "CONTRIBUTING.md")
        .read_text(encoding="utf-8")
        .split("## Rules against silent faults")[1]
        .split("\n## ")[0]
    )
    rows = [row.split(" | ") for row in section.splitlines() if "::" in row]
    assert len(rows) > 25
    for _, places, test in rows:
        assert all((root / "inspire_fast" / place).exists() for place in re.findall(r"`([^`]+)`", places)), places
        file, _, name = test.strip("`| ").partition("::")
        assert f"def {name}(" in (root / file).read_text(encoding="utf-8"), test
