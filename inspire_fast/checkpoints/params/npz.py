"""Parameters in PaliGemma's release format: big_vision's `pt_224.npz`, names `params/img/...` and `params/llm/...`.

openpi starts its training from this file: names under `params` are the names under `PaliGemma`. The archive is
not compressed, so its arrays are read one at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.checkpoints.params.base import Shapes, largest_first

SUFFIX = ".npz"
_THEIRS, _OURS = "params/", "PaliGemma/"
_MEMBER = ".npy"


class NpzParams:
    """The parameters of one archive under openpi's names; other entries (an optimiser's state) are left aside.

    See `StoredParams`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such an archive, cut off, or without parameters; says what is in it.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"No file {path}. PaliGemma's is `pt_224.npz`.")
        self._path = path
        try:
            with zipfile.ZipFile(path) as archive:
                names = [n.removesuffix(_MEMBER) for n in archive.namelist()]
                self._leaves = {
                    _OURS + name.removeprefix(_THEIRS): _shape(archive, name)
                    for name in names
                    if name.startswith(_THEIRS)
                }
        except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
            raise self._unreadable(error) from error
        if not self._leaves:
            raise ValueError(
                f"{path} holds no parameters: expected names like {_THEIRS}llm/..., as in PaliGemma's pt_224.npz; "
                f"there are {', '.join(sorted(names)[:8]) or 'none'}."
            )

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
        with zipfile.ZipFile(self._path) as archive:
            for path in largest_first(self.leaves, paths):
                name = _THEIRS + path.removeprefix(_OURS)
                try:
                    with archive.open(name + _MEMBER) as member:
                        array = np.lib.format.read_array(member, allow_pickle=False)
                except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
                    raise self._unreadable(error) from error
                array = array.view(jnp.bfloat16) if array.dtype.kind == "V" else array
                yield path, array if dtype is None else array.astype(dtype, copy=False)

    def _unreadable(self, error: Exception) -> ValueError:
        return ValueError(
            f"{self._path} ({self._path.stat().st_size:,} bytes) is no NumPy archive, or an incomplete copy of one: "
            f"{error}. Copy it again, completely."
        )


def _shape(archive: zipfile.ZipFile, name: str) -> jax.ShapeDtypeStruct:
    """Shape and dtype from an array's first bytes alone. NumPy stores bfloat16 as two raw bytes."""
    with archive.open(name + _MEMBER) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    return jax.ShapeDtypeStruct(shape, jnp.dtype(jnp.bfloat16) if dtype.kind == "V" and dtype.itemsize == 2 else dtype)
