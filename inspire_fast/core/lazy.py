"""Lazy exports: names of a package that import their module when they are first used (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import importlib
import sys
from typing import Any


def lazy_exports(
    package: str, modules: Mapping[str, str], submodules: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package.

        __getattr__, __dir__ = lazy_exports(__name__, {"train": "inspire_fast.training.loop"})

    Args:
        package: its name.
        modules: exported name -> the module that defines it.
        submodules: names of submodules that are imported on first use.
    """
    available = (*modules, *submodules)

    def load(name: str) -> Any:
        if name in modules:
            value = getattr(importlib.import_module(modules[name]), name)
        elif name in submodules:
            value = importlib.import_module(f"{package}.{name}")
        elif name.startswith("__"):  # asked for by Python and its tools
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        else:
            from inspire_fast.core.registry import unknown_name

            raise AttributeError(unknown_name(f"name of {package}", name, list(available)))
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *available})
