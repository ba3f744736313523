"""Parameters in one safetensors file, under openpi's own names (`PaliGemma/llm/...`, joined with `/`).

The checkpoint's contract travels in the file's metadata, under `contract`. Arrays are written and read one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import struct

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from inspire_fast.checkpoints.params.base import Shapes, StoredParams, largest_first, nbytes, unreadable_file
from inspire_fast.core.files import open_atomic

SUFFIX = ".safetensors"
CONTRACT = "contract"
_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}
_CODES = {name: code for code, name in _DTYPES.items()}


def open_safetensors(path: Path) -> StoredParams:
    """The arrays of one file; `contract` is in its metadata where this package wrote it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a safetensors file, cut off, with arrays that are no floats, or a PyTorch port's.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No safetensors file at {path}.")
    try:
        file = safe_open(str(path), framework="numpy")
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise unreadable_file(path, "safetensors file", error) from error
    _refuse_pytorch(path, list(slices))
    codes = {name: str(s.get_dtype()) for name, s in slices.items()}
    if odd := {name: code for name, code in codes.items() if code not in _DTYPES}:
        raise ValueError(f"{path} holds arrays that are no parameters: {odd}. Expected one of {sorted(_DTYPES)}.")

    def read(leaf: str, dtype: np.dtype) -> np.ndarray:
        try:
            return file.get_tensor(leaf).astype(dtype, copy=False)
        except SafetensorError as error:
            raise unreadable_file(path, "safetensors file", error) from error

    leaves = {n: jax.ShapeDtypeStruct(tuple(s.get_shape()), _DTYPES[codes[n]]) for n, s in slices.items()}
    return StoredParams(origin=str(path), leaves=leaves, read=read, metadata=file.metadata() or {})


def _refuse_pytorch(path: Path, names: Sequence[str]) -> None:
    """Says by name that a file is a PyTorch port's, instead of listing every one of its arrays as unknown."""
    dotted = [name for name in names if "." in name and "/" not in name]
    if dotted:
        port = _port(dotted)
        raise ValueError(
            f"{path} holds the parameters of {port} ({dotted[0]!r}, ...), which this version does not read: names and "
            "layouts of the arrays differ. Take openpi's checkpoint of the same weights (a folder with `params`, e.g. "
            "gs://openpi-assets/checkpoints/pi0_fast_base), PaliGemma's .npz, or a .safetensors file that "
            "`export_checkpoint` wrote."
        )


def _port(names: Sequence[str]) -> str:
    """The PyTorch network that has parameters of these names."""
    if any("pi0_paligemma." in name for name in names):  # of earlier versions
        return "LeRobot's pi0fast"
    if any("paligemma_with_expert." in name for name in names):
        flow = any("gemma_expert." in name.rpartition("paligemma_with_expert.")[2] for name in names)
        return "a PyTorch pi0 or pi0.5, which has no action tokens," if flow else "LeRobot's pi0fast"
    return "a PyTorch network"


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
