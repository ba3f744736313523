"""The import contracts of pyproject.toml hold: layers, no accelerator on a robot, a light base install, no openpi."""

from __future__ import annotations

import logging
from pathlib import Path

from importlinter import cli
import pytest


def test_contracts_hold(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    try:
        status = cli.lint_imports(config_filename="pyproject.toml", cache_dir=str(tmp_path), verbose=False)
    finally:
        for logger in loggers:  # import-linter's logging configuration disables every other logger of the process
            logger.disabled = False
    assert status == 0, "A contract is broken; the chain of imports is printed above (or run `make lint`)."
