"""Parts of native observations: numbers as they come from robots and wires, and names that nobody knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import difflib
from typing import Any

import numpy as np


def numbers(value: Any) -> np.ndarray:
    """Any array of numbers as float32, a copy; numbers too large for it become infinity.

    Raises:
        ValueError: it holds something else.
    """
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":  # numpy would read numbers out of text
        # Never the whole array: writing one out takes seconds.
        shown = f"{value!r:.60}" if isinstance(value, str | bytes) else f"{array.dtype} of shape {array.shape}"
        raise ValueError(f"must hold numbers; got {type(value).__name__} {shown}.")
    with np.errstate(over="ignore", invalid="ignore"):  # signalling NaNs are NaNs
        return array.astype(np.float32)


def unknown_keys(flat: Mapping[str, Any], known: Collection[str], *, optional: Collection[str]) -> str:
    """The first unknown key next to optional cameras, with the closest known one: a misspelt camera would be black."""
    folders = {key.rpartition("/")[0] + "/" for key in optional}
    for key in sorted(flat):
        if key not in known and any(key.startswith(folder) for folder in folders):
            close = difflib.get_close_matches(key, known, n=1)
            return f"{key!r}." + (f" Did you mean {close[0]!r}?" if close else "")
    return ""


def beyond(
    names: Sequence[str], values: np.ndarray, low: Sequence[float], high: Sequence[float], which: np.ndarray
) -> str:
    """The marked dimensions in words: `joint_1_rad 90 (-2.9 .. 2.9)`, the first four of them."""
    dims = np.flatnonzero(which)
    shown = [f"{names[d]} {values[d]:.4g} ({low[d]:.4g} .. {high[d]:.4g})" for d in dims[:4]]
    return ", ".join(shown) + (f" and {len(dims) - 4} more" if len(dims) > 4 else "")
