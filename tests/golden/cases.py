"""Golden vectors and their cases, found by listing: nothing about them is written into the tests.

The vectors are in this folder, or in the one that the environment variable INSPIRE_FAST_GOLDEN names: then the same
tests check other vectors of the same kinds. That folder may hold some kinds only; tests of the others are skipped with
the reason. A run that finds no case at all fails (see `conftest.py`).
"""

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("INSPIRE_FAST_GOLDEN") or HERE).resolve()


def cases(pattern: str, name: str = "{0.name}") -> list:
    """Parameters for `pytest.mark.parametrize`: every path below the root that matches, in order.

    Args:
        pattern: for `Path.glob`, relative to the root.
        name: format of a case's test id, given the path.

    Raises:
        FileNotFoundError: the repository's own vectors lack this kind, or the given folder does not exist.
    """
    found = [pytest.param(path, id=name.format(path)) for path in sorted(ROOT.glob(pattern))]
    return found or [none(f"{ROOT} holds no {pattern}")]


def none(reason: str) -> Any:
    """A skipped parameter for cases that vectors other than the repository's own lack; it gives the reason.

    Raises:
        FileNotFoundError: the repository's own vectors lack this kind, or the given folder does not exist.
    """
    if ROOT == HERE or not ROOT.is_dir():
        raise FileNotFoundError(f"Golden vectors are missing: {reason}.")
    return pytest.param(None, id="none", marks=pytest.mark.skip(reason))


def recipe() -> ModuleType:
    """The numpy-only recipe that re-creates parameters and inputs; other vectors may bring their own."""
    path = ROOT / "recipe.py" if (ROOT / "recipe.py").is_file() else HERE / "recipe.py"
    spec = importlib.util.spec_from_file_location("golden_recipe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
