"""Parts of native observations: numbers as they come from robots and wires, and names that nobody knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
