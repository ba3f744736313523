"""Nested dictionaries as flat ones with paths as keys: `{"image": {"base_0": x}}` <-> `{"image/base_0": x}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


def flatten_dict(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested -> flat. A key that contains a `/` already is not changed."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat |= flatten_dict(value, f"{path}/") if isinstance(value, Mapping) else {path: value}  # pyright: ignore[reportUnknownArgumentType]
    return flat


def unflatten_dict(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Flat -> nested, at every `/`.

    Raises:
        ValueError: a path is a leaf and a folder at once.
    """
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *folders, name = path.split("/")
        inner = tree
        for folder in folders:
            below: Any = inner.setdefault(folder, {})
            if not isinstance(below, dict):
                raise ValueError(f"{path!r} leads through {folder!r}, which is a value itself; have {sorted(flat)}.")
            inner = cast("dict[str, Any]", below)
        if name in inner:
            raise ValueError(f"{path!r} is a folder and a value at once; have {sorted(flat)}.")
        inner[name] = value
    return tree
