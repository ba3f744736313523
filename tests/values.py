"""Dataclasses of a room: which of them may change, or take fields by position."""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
import importlib
import inspect
import pkgutil


def loose_dataclasses(room: str) -> list[str]:
    """Names of the room's public dataclasses that are not frozen, or not keyword-only."""
    return [
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in _dataclasses(room)
        if not kind.__name__.startswith("_")
        and not (kind.__dataclass_params__.frozen and all(field.kw_only for field in dataclasses.fields(kind)))
    ]


def _dataclasses(room: str) -> Iterator[type]:
    package = importlib.import_module(f"inspire_fast.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if dataclasses.is_dataclass(kind) and kind.__module__ == module.name:
                yield kind
