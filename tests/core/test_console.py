"""Names of commands in messages: a script in a checkout, a console command where the package is installed."""

import ast
from pathlib import Path
import re
import tomllib

import pytest

from inspire_fast.core import console
from inspire_fast.core.console import CONSOLE_COMMANDS, command_line


def test_the_names_are_those_of_the_package(root: Path) -> None:
    scripts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert {name: target.rpartition(":")[2] for name, target in scripts.items()} == {
        name: command for command, name in CONSOLE_COMMANDS.items()
    }


def test_the_page_of_installation_lists_all(root: Path) -> None:
    rows = re.findall(
        r"`((?:scripts|examples)/\S+\.py)` \| `(inspire-\S+)`", (root / "docs/install.md").read_text("utf-8")
    )
    scripts = {command: f"scripts/{command}.py" for command in CONSOLE_COMMANDS} | {
        "evaluate": "examples/libero/main.py"
    }
    assert dict(rows) == {scripts[command]: name for command, name in CONSOLE_COMMANDS.items()}
    assert all((root / script).is_file() for script, _ in rows)


def test_what_a_person_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_line("compute_norm_stats") == "uv run scripts/compute_norm_stats.py"
    monkeypatch.setattr(console, "_CHECKOUT", tmp_path)
    assert command_line("compute_norm_stats") == "inspire-norm-stats"


def strings_outside_of_docstrings(tree: ast.Module) -> list[ast.Constant]:
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    documentation = {id(node.value) for node in nodes}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node for node in found if id(node) not in documentation]


def test_no_message_names_a_script_that_an_installed_package_lacks(root: Path) -> None:
    script = re.compile(rf"\b({'|'.join(CONSOLE_COMMANDS)})\.py\b")
    named = [
        f"{path.relative_to(root)}:{node.lineno}: {node.value}"
        for path in sorted((root / "inspire_fast").rglob("*.py"))
        for node in strings_outside_of_docstrings(ast.parse(path.read_text(encoding="utf-8")))
        if script.search(str(node.value))
    ]
    assert not named, "name it with `core.console.command_line`"
