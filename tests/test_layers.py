"""The import contracts of pyproject.toml hold: layers, no accelerator on a robot, a light base install, no openpi."""

from __future__ import annotations

from pathlib import Path

from importlinter import cli
import pytest


def test_contracts_hold(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    status = cli.lint_imports(config_filename="pyproject.toml", cache_dir=str(tmp_path), verbose=False)
    assert status == 0, "A contract is broken; the chain of imports is printed above (or run `make lint`)."
