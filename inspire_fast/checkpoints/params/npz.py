"""Parameters in PaliGemma's release format: big_vision's `pt_224.npz`, names `params/img/...` and `params/llm/...`.

openpi starts its training from this file: names under `params` are the names under `PaliGemma`. The archive is
not compressed, so its arrays are read one at a time.
"""

from __future__ import annotations

from pathlib import Path
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.checkpoints.params.base import StoredParams, unreadable_file

_THEIRS, _OURS = "params/", "PaliGemma/"
_MEMBER = ".npy"


_ERRORS = (zipfile.BadZipFile, ValueError, OSError, EOFError)


def open_npz(path: Path) -> StoredParams:
    """The parameters of one archive under openpi's names; other entries (an optimiser's state) are left aside.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such an archive, cut off, or without parameters; says what is in it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}. PaliGemma's is `pt_224.npz`.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n.removesuffix(_MEMBER) for n in archive.namelist()]
            ours = {_OURS + name.removeprefix(_THEIRS): name for name in names if name.startswith(_THEIRS)}
            leaves = {path: _shape(archive, name) for path, name in ours.items()}
    except _ERRORS as error:
        raise unreadable_file(path, "NumPy archive", error) from error
    if not leaves:
        raise ValueError(
            f"{path} holds no parameters: expected names like {_THEIRS}llm/..., as in PaliGemma's pt_224.npz; "
            f"there are {', '.join(sorted(names)[:8]) or 'none'}."
        )

    def read(leaf: str, dtype: np.dtype) -> np.ndarray:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(ours[leaf] + _MEMBER) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
        except _ERRORS as error:
            raise unreadable_file(path, "NumPy archive", error) from error
        return (array.view(jnp.bfloat16) if array.dtype.kind == "V" else array).astype(dtype, copy=False)

    return StoredParams(origin=str(path), leaves=leaves, read=read)


def _shape(archive: zipfile.ZipFile, name: str) -> jax.ShapeDtypeStruct:
    """Shape and dtype from an array's first bytes alone. NumPy stores bfloat16 as two raw bytes."""
    with archive.open(name + _MEMBER) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    return jax.ShapeDtypeStruct(shape, jnp.dtype(jnp.bfloat16) if dtype.kind == "V" and dtype.itemsize == 2 else dtype)
