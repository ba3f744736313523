"""openpi's helpers for dictionaries and actions: repacking, renaming, carrying keys past a transform, masks, padding.

Names and meaning are openpi's, so that each can take its place among upstream's own. Nothing is changed in place, and
what does not fit is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import difflib
import re
from typing import Any

import numpy as np

from inspire_fast.core.nested import flatten_dict, unflatten_dict

DataDict = dict[str, Any]


@dataclass(frozen=True)
class RepackTransform:
    """A new dictionary from `/`-paths of the old one, `{"image": {"base": "obs/cam"}}`; what is not named is dropped.

    Raises:
        KeyError: on a call: the data has no such path; names the nearest one.
    """

    structure: Any

    def __call__(self, data: DataDict) -> DataDict:
        """The new dictionary."""
        return _repack(self.structure, flatten_dict(data))


def _repack(structure: Any, flat: Mapping[str, Any]) -> Any:
    if isinstance(structure, Mapping):
        return {key: _repack(inner, flat) for key, inner in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(_repack(inner, flat) for inner in structure)
    if structure not in flat:
        close = difflib.get_close_matches(str(structure), flat, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise KeyError(f"Nothing to repack at {structure!r}.{hint} The data has {sorted(flat)}.")
    return flat[structure]


def transform_dict(patterns: Mapping[str, str | None], tree: Mapping[str, Any]) -> dict[str, Any]:
    r"""Renames and drops leaves by their `/`-paths.

    Args:
        patterns: regular expression that matches a whole path -> replacement (with `\1` and the like), or None to drop.
            The first one that matches counts; other leaves stay.
        tree: nested dictionary.

    Raises:
        ValueError: two leaves get one name, or one becomes a folder of another.
    """
    renamed: dict[str, Any] = {}
    for path, value in flatten_dict(tree).items():
        pattern = next((p for p in patterns if re.fullmatch(p, path)), None)
        replacement = path if pattern is None else patterns[pattern]
        if replacement is None:
            continue
        new = path if pattern is None else re.sub(pattern, replacement, path, count=1)
        if new in renamed:
            raise ValueError(f"{path!r} would become {new!r}, which is taken.")
        renamed[new] = value
    return unflatten_dict(renamed)


@dataclass(frozen=True)
class Carry:
    """A transform that builds a new dictionary, as upstream's robot inputs do, with some keys carried past it."""

    transform: Callable[[DataDict], DataDict]
    keys: Sequence[str]

    def __call__(self, data: DataDict) -> DataDict:
        """The transform's dictionary and the carried keys."""
        carried = {key: data[key] for key in self.keys if key in data}
        return {**self.transform(dict(data)), **carried}


def make_bool_mask(*dims: int) -> tuple[bool, ...]:
    """Runs of True and, for negative numbers, of False: `make_bool_mask(2, -1) == (True, True, False)`."""
    return tuple(n > 0 for n in dims for _ in range(abs(n)))


def pad_to_dim(x: np.ndarray, target_dim: int, axis: int = -1, value: float = 0.0) -> np.ndarray:
    """Fills one axis with `value` at its end, up to `target_dim`; an axis of that length or longer stays as it is."""
    missing = max(0, target_dim - x.shape[axis])
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, missing)
    return np.pad(x, widths, constant_values=value)
