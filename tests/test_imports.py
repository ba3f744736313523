"""Everything imports; what a robot workstation needs imports there with the base install's packages alone."""

from __future__ import annotations

import ast
import importlib
from importlib import metadata
import json
from pathlib import Path
import pkgutil
import re
import subprocess
import sys
import tomllib

import pytest

import inspire_fast


def modules(package: str) -> list[str]:
    """Names of a package and of all that is in it."""
    found = importlib.import_module(package)
    return [package, *(m.name for m in pkgutil.walk_packages(found.__path__, f"{package}."))]


ALL = modules("inspire_fast")
BASE = [name for name in ALL if re.match(r"inspire_fast(\.(client|robots|core)(\..*)?)?$", name)]
BASE.remove("inspire_fast.core.batch")  # the pytree, the one module of `core` that imports JAX

# Run with a clean interpreter: `argv[1]` lists the importable top-level names, `argv[2]` the modules to import.
# What a dependency imports where it finds it (numpy looks for threadpoolctl, say) is told like any absent package.
GUARDED_IMPORT = """
import importlib, importlib.abc, json, sys

allowed = set(json.loads(sys.argv[1])) | set(sys.stdlib_module_names) | {"inspire_fast"}

class NotInstalled(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {fullname!r} in the base install", name=fullname)

sys.meta_path.insert(0, NotInstalled())
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
"""


def base_install(root: Path) -> set[str]:
    """Top-level modules that the base dependencies bring."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {normalized(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in project["dependencies"]}
    brought = {
        module
        for module, distributions in metadata.packages_distributions().items()
        if wanted & {normalized(name) for name in distributions}
    }
    assert {"numpy", "msgpack", "websockets", "PIL"} <= brought, brought
    return brought


def normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def guarded_import(allowed: set[str], names: list[str], root: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", GUARDED_IMPORT, json.dumps(sorted(allowed)), json.dumps(names)]
    return subprocess.run(argv, cwd=root, capture_output=True, encoding="utf-8", timeout=120, check=False)


def test_the_walk_finds_every_room(root: Path) -> None:
    rooms = {p.name for p in (root / "inspire_fast").iterdir() if (p / "__init__.py").is_file()}
    assert rooms == {name.split(".")[1] for name in ALL if name.count(".") >= 1}


@pytest.mark.parametrize("name", ALL)
def test_imports(name: str) -> None:
    importlib.import_module(name)


def test_version_is_the_distributions() -> None:
    assert inspire_fast.__version__ == metadata.version("inspire-fast")


def test_client_robots_and_core_import_with_the_base_install_only(root: Path) -> None:
    done = guarded_import(base_install(root), BASE, root)
    assert done.returncode == 0, done.stderr


def test_the_guard_sees_what_the_base_install_lacks(root: Path) -> None:
    done = guarded_import(base_install(root), ["inspire_fast.core.batch"], root)
    assert done.returncode != 0
    assert "No module named 'jax' in the base install" in done.stderr


def test_the_client_loads_little(root: Path) -> None:
    # What an import takes is what it loads; seconds would measure the machine (benchmarks/server_load.py gives them).
    # A distribution's Python may load a `sitecustomize` by itself: what was there before does not count.
    program = (
        "import sys; old = set(sys.modules); import inspire_fast.client; "
        "print({name.partition('.')[0] for name in set(sys.modules) - old})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, encoding="utf-8", check=True)
    loaded = ast.literal_eval(done.stdout) - set(sys.stdlib_module_names)
    # Cython's own modules come with msgpack.
    assert {n for n in loaded if not re.match("__main__|_*cython", n)} == {
        "inspire_fast",
        "msgpack",
        "numpy",
        "websockets",
    }
