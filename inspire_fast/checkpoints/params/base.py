"""Stored parameters, one interface for all formats: names and shapes are read at once, arrays one by one.

So a checkpoint is checked before anything is read, and is never in memory twice: a leaf is read, cast, handed over and
forgotten before the next. The largest leaf comes first, while there is most room for what its decoding needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
import math
from pathlib import Path

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.models.openpi.params import TABLE, flat_params
from inspire_fast.models.pi0_fast import Pi0Fast

Shapes = Mapping[str, jax.ShapeDtypeStruct]
_CHECKED_AT_ONCE = 1 << 24
_ALIGNMENT = 64


@dataclass(frozen=True, kw_only=True)
class StoredParams:
    """Named arrays of one checkpoint, under openpi's `/`-joined paths (without a trailing `value`).

    Attributes:
        origin: where they lie, for messages.
        leaves: shape and stored dtype of every array, by path.
        read: reads the array at a path and casts it; raises ValueError if the checkpoint is truncated.
        metadata: text that travels with the arrays, in formats that have it.
        order: of streaming; largest first where it is empty.
    """

    origin: str
    leaves: Shapes
    read: Callable[[str, np.dtype], np.ndarray]
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    order: tuple[str, ...] = ()

    def stream(
        self, dtype: jnp.dtype | None = None, paths: Collection[str] | None = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Every array once, or those of `paths`, in order, cast to `dtype` (None: as stored).

        Raises:
            ValueError: an array cannot be read: the checkpoint is truncated.
        """
        for path in self.ordered(paths):
            yield path, self.read(path, dtype or self.leaves[path].dtype)

    def ordered(self, paths: Collection[str] | None = None) -> list[str]:
        """Every path, or those of `paths`, in the order of streaming."""
        if not self.order:
            return largest_first(self.leaves, paths)
        return [path for path in self.order if path in self.leaves and (paths is None or path in paths)]


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


def overlay(base: StoredParams, over: StoredParams) -> StoredParams:
    """Parameters of a base, some of them replaced or added: a LoRA checkpoint on the base that it was trained on."""
    return StoredParams(
        origin=f"{over.origin} over {base.origin}",
        leaves={**base.leaves, **over.leaves},
        read=lambda path, dtype: (over if path in over.leaves else base).read(path, dtype),
    )


def selection(whole: StoredParams, keep: Collection[str]) -> StoredParams:
    """Some of a checkpoint's parameters; paths in `keep` that it does not have are no error."""
    return replace(whole, leaves={path: leaf for path, leaf in whole.leaves.items() if path in keep})


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


def unreadable_file(path: Path, kind: str, error: Exception) -> ValueError:
    """The error of a file that is not of its kind, or cut off."""
    return ValueError(
        f"{path} ({path.stat().st_size:,} bytes) is no {kind}, or an incomplete copy of one: {error}. Copy it again, "
        "completely."
    )
