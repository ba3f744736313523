"""Robot workstations install the base package alone: client and robots import nothing heavier."""

import subprocess
import sys

import pytest

HEAVY = {"flax", "grain", "jax", "jaxlib", "optax", "orbax", "pyarrow", "sentencepiece", "tokenizers", "torch"}
PROGRAM = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
print(*names)
"""


@pytest.mark.parametrize(
    ("package", "expected"),
    [("inspire_fast.client", "websocket_client"), ("inspire_fast.robots.control", "runtime")],
)
def test_every_module_imports_without_heavy_packages(package, expected):
    run = subprocess.run([sys.executable, "-c", PROGRAM, package], capture_output=True, encoding="utf-8", check=True)
    loaded, names = (set(line.split()) for line in run.stdout.splitlines())
    assert f"{package}.{expected}" in names
    assert not loaded & HEAVY
    assert "numpy" in loaded
