"""Where the golden vectors lie, and which cases there are: nothing about them is written into the tests.

The vectors lie beside this file, or in the folder that the environment variable INSPIRE_FAST_GOLDEN names: then the same
tests check other vectors of the same kinds. That folder may hold some kinds only; tests of the others are skipped and
say so. A run that finds no case at all fails (see `conftest.py`).
"""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np
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
    if not found and (ROOT == HERE or not ROOT.is_dir()):
        raise FileNotFoundError(f"No golden vectors {pattern} in {ROOT}.")
    return found or [pytest.param(None, id="none", marks=pytest.mark.skip(f"{ROOT} holds no {pattern}"))]


def recipe() -> ModuleType:
    """The numpy-only recipe that re-creates parameters and inputs; other vectors may bring their own."""
    path = ROOT / "recipe.py" if (ROOT / "recipe.py").is_file() else HERE / "recipe.py"
    spec = importlib.util.spec_from_file_location("golden_recipe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SEEN: dict[tuple[str, str], tuple[int, float, str]] = {}
"""(item, vectors) -> numbers compared, largest absolute difference, tolerance: the rows of docs/parity.md."""


def compare(item: str, vectors: str, ours: object, golden: object, *, atol: float = 0.0, rtol: float = 0.0) -> None:
    """Asserts that numbers are equal within tolerance, and remembers the largest difference for the parity table.

    Args:
        item: what is compared, as the table names it, e.g. "logits".
        vectors: where the golden numbers lie, e.g. "b_model/dummy_mu".
        ours: array or number.
        golden: the same of upstream's.
        atol: 0 with `rtol` 0 means exactly equal.
        rtol: relative to the golden numbers.
    """
    a, b = np.asarray(ours), np.asarray(golden)
    assert a.shape == b.shape, f"{item} of {vectors}: shape {a.shape}, golden {b.shape}"
    np.testing.assert_allclose(a, b, atol=atol, rtol=rtol, err_msg=f"{item} of {vectors}")
    finite = np.isfinite(b.astype(np.float64))
    difference = np.abs(a.astype(np.float64) - b.astype(np.float64))[finite].max(initial=0.0)
    bound = (
        "equal"
        if not atol and not rtol
        else " + ".join(f"{name} {value:g}" for name, value in (("atol", atol), ("rtol", rtol)) if value)
    )
    count, largest, _ = SEEN.get((item, vectors), (0, 0.0, bound))
    SEEN[item, vectors] = (count + b.size, max(largest, float(difference)), bound)
