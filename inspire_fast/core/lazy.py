"""Lazy exports: names of a package that import their module when they are first used (PEP 562)."""

from __future__ import annotations

import ast
from collections.abc import Callable
import importlib
import sys
from typing import Any


def exported(package: str) -> dict[str, str]:
    """Names that a package imports under `if TYPE_CHECKING:` -> the module that defines each."""
    spec = sys.modules[package].__spec__
    source = spec and spec.loader and getattr(spec.loader, "get_source")(package)  # noqa: B009  # not every loader's
    blocks = [node for node in ast.parse(source or "").body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def lazy_exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package that imports its exports under `if TYPE_CHECKING:`.

        if TYPE_CHECKING:
            from inspire_fast.training.loop import train as train

        __getattr__, __dir__ = lazy_exports(__name__)

    Type checkers and readers see ordinary imports; at run time the same list says where a name comes from.
    """
    modules = exported(package)

    def load(name: str) -> Any:
        if name not in modules:
            if name.startswith("__"):  # asked for by Python and its tools
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            from inspire_fast.core.registry import unknown_name

            raise AttributeError(unknown_name(f"name of {package}", name, list(modules)))
        if modules[name] == package:  # a submodule
            value = importlib.import_module(f"{package}.{name}")
        else:
            value = getattr(importlib.import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *modules})
