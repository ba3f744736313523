"""Parameters in a safetensors file: under openpi's own names (`PaliGemma/llm/...`, joined with `/`), or LeRobot's.

In a file of this package, the checkpoint's contract travels in the metadata, under `contract`. Arrays are written and
read one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import re
import struct

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from inspire_fast.checkpoints.params.base import StoredParams, nbytes, unreadable_file
from inspire_fast.checkpoints.params.lerobot import EXPERT, from_lerobot, is_lerobot
from inspire_fast.core.files import open_atomic
from inspire_fast.models.config import ModelConfig

SUFFIX = ".safetensors"
CONTRACT = "contract"
_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}
_PIECE = re.compile(r"(?P<stem>.+)-\d+-of-(?P<count>\d+)\.safetensors")
_CODES = {name: code for code, name in _DTYPES.items()}


def open_safetensors(path: Path, *, model: ModelConfig | None = None) -> StoredParams:
    """The arrays of one file, or of all files of which it is one; the metadata of this package's has the `contract`.

    Args:
        path: of this package's, or `model.safetensors` of a LeRobot `pi0_fast` policy, also in pieces
            (`model-00001-of-00002.safetensors`).
        model: the architecture, which LeRobot's files need; None is PaliGemma's.

    Raises:
        FileNotFoundError: there is no such file, or a piece is missing.
        ValueError: not a safetensors file, cut off, with arrays that are no floats, or of another PyTorch network.
    """
    files = [_Open(piece) for piece in _pieces(path)]
    names = [name for file in files for name in file.slices]
    if not any("." in name and "/" not in name for name in names):
        return files[0].stored if len(files) == 1 else _joined(path, files)
    if not is_lerobot(names):
        raise _other_network(path, names)
    return from_lerobot(_joined(path, files), lambda name, rows: _holder(files, name).slices[name][rows], model)


def read_metadata(path: Path) -> Mapping[str, str]:
    """Text in a file's header; `contract` where this package wrote it. Errors as of `open_safetensors`."""
    return _Open(path).stored.metadata


class _Open:
    """One file with its header read."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"No safetensors file at {path}.")
        try:
            self.file = safe_open(str(path), framework="numpy")
            self.slices = {name: self.file.get_slice(name) for name in self.file.keys()}  # noqa: SIM118 (no mapping)
        except SafetensorError as error:
            raise unreadable_file(path, "safetensors file", error) from error
        codes = {name: str(s.get_dtype()) for name, s in self.slices.items()}
        if odd := {name: code for name, code in codes.items() if code not in _DTYPES}:
            raise ValueError(f"{path} holds arrays that are no parameters: {odd}. Expected one of {sorted(_DTYPES)}.")
        leaves = {n: jax.ShapeDtypeStruct(tuple(s.get_shape()), _DTYPES[codes[n]]) for n, s in self.slices.items()}
        self.path = path
        self.stored = StoredParams(
            origin=str(path), leaves=leaves, read=self._read, metadata=self.file.metadata() or {}
        )

    def _read(self, leaf: str, dtype: np.dtype) -> np.ndarray:
        try:
            return self.file.get_tensor(leaf).astype(dtype, copy=False)
        except SafetensorError as error:
            raise unreadable_file(self.path, "safetensors file", error) from error


def _pieces(path: Path) -> list[Path]:
    """All files of which `path` is one, by the count in their names.

    Raises:
        FileNotFoundError: some are missing; lists them.
    """
    found = _PIECE.fullmatch(path.name)
    if found is None:
        return [path]
    count, digits = int(found["count"]), len(found["count"])
    pieces = [path.with_name(f"{found['stem']}-{i:0{digits}}-of-{found['count']}{SUFFIX}") for i in range(1, count + 1)]
    if missing := [piece.name for piece in pieces if not piece.is_file()]:
        raise FileNotFoundError(
            f"{path.parent} lacks {', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}: {path.name} is one of "
            f"{count} files that belong together. Copy them all."
        )
    return pieces


def _holder(files: Sequence[_Open], name: str) -> _Open:
    return next(file for file in files if name in file.slices)


def _joined(path: Path, files: Sequence[_Open]) -> StoredParams:
    """The arrays of all files."""
    return StoredParams(
        origin=str(path),
        leaves={name: leaf for file in files for name, leaf in file.stored.leaves.items()},
        read=lambda name, dtype: _holder(files, name).stored.read(name, dtype),
        metadata=files[0].stored.metadata,
    )


def _other_network(path: Path, names: Sequence[str]) -> ValueError:
    """The error of a PyTorch network that is not LeRobot's `pi0_fast`, by its name."""
    dotted = [name for name in names if "." in name]
    flow = any(EXPERT in name for name in dotted)
    port = "a PyTorch pi0 or pi0.5, which has no action tokens," if flow else "a PyTorch network"
    return ValueError(
        f"{path} holds the parameters of {port} ({dotted[0]!r}, ...), which this version does not read: names and "
        "layouts of the arrays differ. Take LeRobot's or openpi's checkpoint of a pi0-FAST network (openpi's is a "
        "folder with `params`, e.g. gs://openpi-assets/checkpoints/pi0_fast_base), PaliGemma's .npz, or a "
        ".safetensors file that `export_checkpoint` wrote."
    )


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
    header = _header(params, dtype, metadata or {})
    with open_atomic(path) as file:
        file.write(header)
        for _, array in params.stream(dtype):
            # As raw bytes: NumPy's own buffers know no bfloat16.
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return path


def _header(params: StoredParams, dtype: jnp.dtype | None, metadata: Mapping[str, str]) -> bytes:
    """The format's beginning: length, then names, dtypes, shapes and places of the arrays in the order of writing."""
    entries: dict[str, object] = {"__metadata__": {"format": "np", **metadata}}
    offset = 0
    for path in params.ordered():
        stored = params.leaves[path]
        leaf = jax.ShapeDtypeStruct(stored.shape, dtype or stored.dtype)
        if leaf.dtype.name not in _CODES:
            raise ValueError(f"safetensors cannot hold {path} as {leaf.dtype.name}; choose one of {sorted(_CODES)}.")
        end = offset + nbytes(leaf)
        entries[path] = {"dtype": _CODES[leaf.dtype.name], "shape": list(leaf.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8
    return struct.pack("<Q", len(text)) + text
