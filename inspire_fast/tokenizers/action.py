"""Interface of action tokenizers (normalised chunks <-> ids), their input checks, and a round-trip report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from inspire_fast.tokenizers.grammar import Grammar

BLOCK = 4096  # chunks that are in memory at a time
TRIED = 100_000  # chunks that are written and read back where there are more


class Chunks(Protocol):
    """Action chunks for fitting: one array `[n, t, a]`, or several that can be read again and again, e.g. a list."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...


@runtime_checkable
class ActionTokenizer(Protocol):
    """Normalised action chunks `[t, a]` (quantile-normalised: mostly within [-1, 1]) <-> ids `0 .. vocab_size - 1`."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides what an id means; part of a checkpoint's contract."""
        ...

    def encode(self, actions: np.ndarray) -> list[int]:
        """Float `[t, a]` -> ids.

        Raises:
            ValueError: NaN or infinity, a shape that the tokenizer was not made for, or values outside its range.
        """
        ...

    def encode_batch(self, actions: np.ndarray) -> list[list[int]]:
        """`encode` of `[n, t, a]`."""
        ...

    def decode(self, ids: Sequence[int], horizon: int, action_dim: int) -> np.ndarray:
        """Ids -> float32 `[horizon, action_dim]`.

        Raises:
            ValueError: the ids do not form exactly one chunk. A failure never becomes zeros.
        """
        ...

    def decode_batch(self, ids: Sequence[Sequence[int]], horizon: int, action_dim: int) -> np.ndarray:
        """`decode` of several chunks -> float32 `[n, horizon, action_dim]`."""
        ...

    def grammar(self, horizon: int, action_dim: int) -> Grammar:
        """Grammar of the ids of one chunk; `decode` accepts every complete sequence of it."""
        ...

    def save(self, directory: Path) -> None:
        """Writes the file that the class method `load` reads."""
        ...


@runtime_checkable
class StepwiseTokenizer(ActionTokenizer, Protocol):
    """Action tokenizers that write a chunk step by step, so that its first actions can be given."""

    def prefix(self, actions: np.ndarray) -> list[int]:
        """Float `[k, a]`, the first `k` actions -> the ids that a chunk with them begins with.

        They are executed whatever they are: values beyond the range are taken as its ends.

        Raises:
            ValueError: NaN or infinity, or a wrong shape.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RoundTrip:
    """Errors and lengths of encoded chunks, in normalised units (2 is the width between the 1 % and 99 % quantiles).

    Attributes:
        mean_error, max_error: absolute error of `decode(encode(x))`.
        mean_ids, max_ids: ids per chunk.
    """

    mean_error: float
    max_error: float
    mean_ids: float
    max_ids: int

    def __str__(self) -> str:
        return (
            f"{self.mean_ids:.1f} ids per chunk (at most {self.max_ids}), "
            f"error {self.mean_error:.4f} on average (at most {self.max_error:.3f})"
        )


def round_trip(tokenizer: ActionTokenizer, chunks: Chunks) -> RoundTrip:
    """Encodes and decodes chunks, a block at a time: `TRIED` of them, evenly spread, where there are more.

    Raises:
        ValueError: a chunk cannot be encoded, or its ids cannot be decoded.
    """
    number = shape_of(chunks, "round_trip")[0]
    tried = np.unique(np.linspace(0, number - 1, min(number, TRIED)).round().astype(np.int64))
    lengths: list[int] = []
    total, values, largest = 0.0, 0, 0.0
    for block in picked(chunks, "round_trip", tried):
        ids = tokenizer.encode_batch(block)
        error = np.abs(tokenizer.decode_batch(ids, *block.shape[1:]) - block)
        total, values, largest = total + float(error.sum()), values + error.size, max(largest, float(error.max()))
        lengths += map(len, ids)
    return RoundTrip(
        mean_error=total / values, max_error=largest, mean_ids=float(np.mean(lengths)), max_ids=max(lengths)
    )


def blocks(chunks: Chunks, kind: str) -> Iterator[np.ndarray]:
    """Chunks as float64 arrays `[m, t, a]` of at most `BLOCK` chunks, so that a dataset need not fit in memory.

    Args:
        chunks: see `Chunks`.
        kind: name of the tokenizer, for messages.

    Raises:
        ValueError: an iterator, which can be read only once; chunks of different shapes; NaN or infinity.
    """
    if isinstance(chunks, Iterator):
        raise ValueError(f"{kind} reads its chunks several times; got {type(chunks).__name__}. Pass a list of arrays.")
    shape: tuple[int | None, int | None] = (None, None)
    for given in (np.asarray(chunks),) if hasattr(chunks, "shape") else chunks:
        for start in range(0, len(given), BLOCK):
            block = require_chunks(given[start : start + BLOCK], kind, ndim=3, shape=shape)
            shape = (block.shape[1], block.shape[2])
            yield block


def picked(chunks: Chunks, kind: str, numbers: np.ndarray) -> Iterator[np.ndarray]:
    """The chunks of the given numbers (ascending, int64 `[k]`), in blocks as `blocks` gives them."""
    start = 0
    for block in blocks(chunks, kind):
        first, stop = np.searchsorted(numbers, [start, start + len(block)])
        start += len(block)
        if stop > first:
            yield block[numbers[first:stop] - (start - len(block))]


def shape_of(chunks: Chunks, kind: str) -> tuple[int, int, int]:
    """Shape `(n, t, a)` of all chunks together.

    Raises:
        ValueError: there is none; see also `blocks`.
    """
    shapes = [block.shape for block in blocks(chunks, kind)]
    if not shapes:
        raise ValueError(f"Cannot fit {kind} on no chunks.")
    return sum(n for n, _, _ in shapes), *shapes[0][1:]


def require_chunks(
    actions: np.ndarray,
    kind: str,
    *,
    ndim: int,
    shape: tuple[int | None, int | None] = (None, None),
    finite: bool = True,
) -> np.ndarray:
    """Chunks as float64.

    Args:
        actions: `[t, a]`, or `[n, t, a]` with `ndim=3`.
        kind: name of the tokenizer, for the message.
        ndim: 2 or 3.
        shape: horizon and action dimension that the tokenizer was made for; None takes any.
        finite: also refuse NaN and infinity.

    Raises:
        ValueError: another number of dimensions, an empty array, another shape, NaN or infinity.
    """
    actions = np.asarray(actions, np.float64)
    if actions.ndim != ndim or 0 in actions.shape:
        axes = {2: "[t, a]", 3: "[n, t, a]"}[ndim]
        raise ValueError(f"{kind} encodes action chunks {axes}; got an array of shape {actions.shape}.")
    require_shape(kind, shape, *actions.shape[-2:])
    if finite:
        require_finite(actions)
    return actions


def require_finite(actions: np.ndarray) -> None:
    """Raises ValueError with the first index of NaN or infinity, if there is one."""
    if not np.isfinite(actions).all():
        where = tuple(np.argwhere(~np.isfinite(actions))[0].tolist())
        raise ValueError(f"The action chunk is not finite: {actions[where]} at {list(where)} (NaN or infinity).")


def require_shape(kind: str, shape: tuple[int | None, int | None], horizon: int, action_dim: int) -> None:
    """Raises ValueError unless a tokenizer made for chunks of `shape` (None: any) takes `horizon x action_dim`."""
    if shape != (horizon, action_dim) and (shape[0] not in (None, horizon) or shape[1] not in (None, action_dim)):
        made_for = " x ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(
            f"This {kind} tokenizer was made for chunks of {made_for} (horizon x action dimensions); got {horizon} x "
            f"{action_dim}. Check robot and horizon, or fit a tokenizer for them."
        )


def require_count(kind: str, what: str, got: int, horizon: int, action_dim: int, needed: int) -> None:
    """Raises ValueError unless `got` is the number of `what` that one chunk needs."""
    if got != needed:
        raise ValueError(
            f"The {kind} ids hold {got} {what}; a chunk of {horizon} x {action_dim} needs {needed}. Decode with "
            "`grammar()`, which cannot produce this."
        )


def require_file(directory: Path, name: str, kind: type) -> Path:
    """Path of a tokenizer's file.

    Raises:
        FileNotFoundError: the directory has no such file.
    """
    if not (directory / name).is_file():
        raise FileNotFoundError(
            f"No {kind.__name__} at {directory / name}; make one with {kind.__name__}.fit(...).save(...)."
        )
    return directory / name
