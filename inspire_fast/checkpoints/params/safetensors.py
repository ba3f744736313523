"""Parameters in one safetensors file, under openpi's own names (`PaliGemma/llm/...`, joined with `/`).

The checkpoint's contract travels in the file's metadata, under `contract`. Arrays are written and read one at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
import json
from pathlib import Path
import struct

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from inspire_fast.checkpoints.params.base import Shapes, StoredParams, largest_first, nbytes
from inspire_fast.core.files import open_atomic

SUFFIX = ".safetensors"
CONTRACT = "contract"
_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}
_CODES = {name: code for code, name in _DTYPES.items()}


class SafetensorsParams:
    """The arrays of one file. See `StoredParams`.

    Attributes:
        metadata: the file's text metadata, `contract` among them where this package wrote it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a safetensors file, cut off, or with arrays that are no floats.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"No safetensors file at {path}.")
        self._path = path
        try:
            self._file = safe_open(str(path), framework="numpy")
            slices = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118 (no mapping)
        except SafetensorError as error:
            raise _unreadable(path, error) from error
        codes = {name: str(s.get_dtype()) for name, s in slices.items()}
        if odd := {name: code for name, code in codes.items() if code not in _DTYPES}:
            raise ValueError(f"{path} holds arrays that are no parameters: {odd}. Expected one of {sorted(_DTYPES)}.")
        self.metadata: Mapping[str, str] = self._file.metadata() or {}
        self._leaves = {
            name: jax.ShapeDtypeStruct(tuple(s.get_shape()), jnp.dtype(_DTYPES[codes[name]]))
            for name, s in slices.items()
        }

    @property
    def origin(self) -> str:
        """Path of the file or folder, for messages."""
        return str(self._path)

    @property
    def leaves(self) -> Shapes:
        """Shape and dtype of every array, by path."""
        return self._leaves

    def stream(
        self, dtype: jnp.dtype | None = None, paths: Collection[str] | None = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Reads arrays one by one, largest first, perhaps cast to `dtype`; `paths` selects some."""
        for name in largest_first(self.leaves, paths):
            try:
                array = self._file.get_tensor(name)
            except SafetensorError as error:
                raise _unreadable(self._path, error) from error
            yield name, array if dtype is None else array.astype(dtype, copy=False)


def write_safetensors(
    path: Path, params: StoredParams, *, dtype: jnp.dtype | None = None, metadata: Mapping[str, str] | None = None
) -> Path:
    """Writes every array of `params`, one after the other; the file appears when it is complete.

    Args:
        path: the file; its folder is made where it is missing.
        params: where the arrays come from.
        dtype: of the arrays in the file; None keeps the stored one.
        metadata: text that goes along.

    Raises:
        FileExistsError: the file exists.
        ValueError: another suffix than `.safetensors`, or a dtype that the format lacks.
    """
    if path.suffix != SUFFIX:
        raise ValueError(f"{path} must end in {SUFFIX}.")
    if path.exists():
        raise FileExistsError(f"{path} exists; choose another name, or delete it first.")
    header = _header(params.leaves, dtype, metadata or {})
    with open_atomic(path) as file:
        file.write(header)
        for _, array in params.stream(dtype):
            # As raw bytes: NumPy's own buffers know no bfloat16.
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return path


def _header(leaves: Shapes, dtype: jnp.dtype | None, metadata: Mapping[str, str]) -> bytes:
    """The format's beginning: length, then names, dtypes, shapes and places of the arrays in the order of writing."""
    entries: dict[str, object] = {"__metadata__": {**metadata, "format": "np"}}
    offset = 0
    for path in largest_first(leaves):
        leaf = jax.ShapeDtypeStruct(leaves[path].shape, dtype or leaves[path].dtype)
        if leaf.dtype.name not in _CODES:
            raise ValueError(f"safetensors cannot hold {path} as {leaf.dtype.name}; choose one of {sorted(_CODES)}.")
        end = offset + nbytes(leaf)
        entries[path] = {"dtype": _CODES[leaf.dtype.name], "shape": list(leaf.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8
    return struct.pack("<Q", len(text)) + text


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} ({path.stat().st_size:,} bytes) is no safetensors file, or an incomplete copy of one: {error}. Copy "
        "it again, completely."
    )
