"""Arrays in pickles of others, read without running anything that a pickle may name.

A pickle is a program: `pickle.loads` calls whatever it names. Here it may name the few functions that rebuild a NumPy
array, and the result must be an array without Python objects.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

LARGEST_BYTES = 1 << 24
_RECONSTRUCT = np.zeros(0).__reduce__()[0]
_FROM_BUFFER = np.zeros(0).__reduce_ex__(5)[0]
# NumPy 2 renamed `numpy.core`; files of both are read.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FROM_BUFFER for core in ("core", "_core")},
}


def load_array(content: bytes) -> np.ndarray:
    """The array in a pickle.

    Raises:
        ValueError: it is damaged, too large, names anything but NumPy's own makers of arrays, or holds no plain array;
            says what it named or held.
    """
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"a pickled array of {len(content):,} bytes; at most {LARGEST_BYTES:,} are read")
    try:
        value = _ArraysOnly(io.BytesIO(content)).load()
    except ValueError:
        raise
    except Exception as error:  # a damaged pickle fails in any way; nothing outside of NumPy was called
        raise ValueError(f"no readable pickle of an array: {error!r}") from error
    if not isinstance(value, np.ndarray):
        raise ValueError(f"a pickle that holds {type(value).__name__}, not an array")
    if value.dtype.hasobject:
        raise ValueError(f"a pickled array of Python objects ({value.dtype}); numbers are expected")
    return value


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays; every other name is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The object that a pickle names."""
        if (module, name) not in _ALLOWED:
            raise ValueError(
                f"a pickle that names {module}.{name}; only NumPy arrays are read. Do not open this file with pickle"
            )
        return _ALLOWED[module, name]
