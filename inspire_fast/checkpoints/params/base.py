"""Stored parameters, one interface for all formats: names and shapes are read at once, arrays one by one.

So a checkpoint is checked before anything is read, and is never in memory twice: a leaf is read, cast, handed over and
forgotten before the next. The largest leaf comes first, while there is most room for what its decoding needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
import itertools
import math
from typing import Protocol

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.models.openpi.params import TABLE, flat_params
from inspire_fast.models.pi0_fast import Pi0Fast

Shapes = Mapping[str, jax.ShapeDtypeStruct]
_CHECKED_AT_ONCE = 1 << 24
_ALIGNMENT = 64


class StoredParams(Protocol):
    """Named arrays of one checkpoint, under openpi's `/`-joined paths (without a trailing `value`)."""

    @property
    def origin(self) -> str:
        """Where they lie, for messages."""
        ...

    @property
    def leaves(self) -> Shapes:
        """Shape and stored dtype of every array; reading this reads no array."""
        ...

    def stream(
        self, dtype: jnp.dtype | None = None, paths: Collection[str] | None = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Every array once, or those of `paths`, largest first, cast to `dtype` (None: as stored).

        Raises:
            ValueError: an array cannot be read: the checkpoint is truncated.
        """
        ...


def largest_first(leaves: Shapes, paths: Collection[str] | None = None) -> list[str]:
    """Paths (or those of `paths` that there are) by falling size in bytes as stored, equal ones by name."""
    wanted = leaves if paths is None else [path for path in leaves if path in paths]
    return sorted(wanted, key=lambda path: (-nbytes(leaves[path]), path))


def nbytes(leaf: jax.ShapeDtypeStruct) -> int:
    """Bytes of one array."""
    return leaf.size * leaf.dtype.itemsize


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that JAX on a CPU takes as its own, without a copy: it begins at a multiple of 64 bytes."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def is_lora(path: str) -> bool:
    """A low-rank adapter's leaf, by upstream's own rule: the name says so."""
    return "lora" in path


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """Parameters of a base with some of them replaced or added: a LoRA checkpoint on the base that it was trained on.

    Attributes:
        base: where everything else comes from.
        over: these arrays win.
    """

    base: StoredParams
    over: StoredParams

    @property
    def origin(self) -> str:
        """Path of the file or folder, for messages."""
        return f"{self.over.origin} over {self.base.origin}"

    @property
    def leaves(self) -> Shapes:
        """Shape and dtype of every array, by path."""
        return {**self.base.leaves, **self.over.leaves}

    def stream(
        self, dtype: jnp.dtype | None = None, paths: Collection[str] | None = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Reads arrays one by one, those of each source largest first."""
        wanted = self.leaves if paths is None else paths
        below = [path for path in wanted if path not in self.over.leaves]
        return itertools.chain(self.base.stream(dtype, below), self.over.stream(dtype, wanted))


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Some of a checkpoint's parameters.

    Attributes:
        whole: the checkpoint.
        keep: paths; ones that it does not have are no error.
    """

    whole: StoredParams
    keep: Collection[str]

    @property
    def origin(self) -> str:
        """Path of the file or folder, for messages."""
        return self.whole.origin

    @property
    def leaves(self) -> Shapes:
        """Shape and dtype of every array, by path."""
        return {path: leaf for path, leaf in self.whole.leaves.items() if path in self.keep}

    def stream(
        self, dtype: jnp.dtype | None = None, paths: Collection[str] | None = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Reads arrays one by one, largest first, perhaps cast to `dtype`; `paths` selects some."""
        return self.whole.stream(dtype, [p for p in self.keep if paths is None or p in paths])


def require_fit(stored: StoredParams, wanted: Shapes, *, may_lack: Collection[str] = ()) -> None:
    """Checks names and shapes of a checkpoint against a network's, both under openpi's paths.

    Args:
        stored: the checkpoint.
        wanted: what the network has.
        may_lack: paths that the checkpoint need not have.

    Raises:
        ValueError: lists every leaf that is missing, unknown, of another shape or not of a floating type.
    """
    have = stored.leaves
    problems = [f"missing: {path} {w.shape}" for path, w in wanted.items() if path not in have and path not in may_lack]
    problems += [f"unknown: {path} {leaf.shape}" for path, leaf in have.items() if path not in wanted]
    problems += [
        f"shape: {path} is {have[path].shape}, the network has {w.shape}"
        for path, w in wanted.items()
        if path in have and have[path].shape != w.shape
    ]
    problems += [
        f"dtype: {path} is {leaf.dtype}, expected floating point"
        for path, leaf in have.items()
        if path in wanted and not jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    if problems:
        raise ValueError(
            f"The checkpoint {stored.origin} does not fit the network; load it with the architecture that it was "
            f"trained with (another preset, vocabulary or image size?). {len(problems)} differences:\n  "
            + "\n  ".join(sorted(problems))
        )


def wanted_by(model: Pi0Fast) -> dict[str, jax.ShapeDtypeStruct]:
    """The network's leaves under openpi's paths, as `require_fit` takes them."""
    return {
        TABLE[path]: jax.ShapeDtypeStruct(variable.shape, variable.dtype)
        for path, variable in flat_params(model).items()
    }


def fill(model: Pi0Fast, stored: StoredParams, dtype: jnp.dtype | None = None) -> None:
    """Gives the network its parameters, one leaf at a time.

    Args:
        model: its variables may be shapes without arrays (`nnx.eval_shape`).
        stored: the checkpoint.
        dtype: what the parameters are held in; None keeps each variable's own.

    Raises:
        ValueError: names or shapes do not fit, or the checkpoint is truncated.
    """
    require_fit(stored, wanted_by(model))
    variables: dict[str, nnx.Param] = {TABLE[path]: variable for path, variable in flat_params(model).items()}
    for path, array in stored.stream(dtype):
        require_finite(stored, path, array)
        variables[path].set_value(jnp.asarray(array, dtype or variables[path].dtype))
        del array  # not to be kept while the next one is read


def require_finite(stored: StoredParams, path: str, array: np.ndarray) -> None:
    """Refuses an array that no training can have ended with.

    Raises:
        ValueError: NaN or infinity is inside.
    """
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHECKED_AT_ONCE):
        part = flat[start : start + _CHECKED_AT_ONCE]
        if part.dtype == jnp.bfloat16:  # by its exponent's bits: NumPy would take each number through a call of its own
            finite = ((part.view(np.uint16) & 0x7F80) != 0x7F80).all()
        else:
            finite = np.isfinite(part).all()
        if not finite:
            raise ValueError(
                f"{path} in {stored.origin} holds NaN or infinity: the training that wrote it diverged, or the file is "
                "damaged. Take an earlier step, or copy it again."
            )
