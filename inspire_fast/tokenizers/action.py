"""What every action tokenizer offers: normalised chunks <-> ids, and the grammar that its ids obey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from inspire_fast.tokenizers.grammar import Grammar


@runtime_checkable
class ActionTokenizer(Protocol):
    """Normalised action chunks `[t, a]` (quantile-normalised: mostly within [-1, 1]) <-> ids `0 .. vocab_size - 1`."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides what an id means; stands in a checkpoint's contract."""
        ...

    def encode(self, actions: np.ndarray) -> list[int]:
        """Float `[t, a]` -> ids.

        Raises:
            ValueError: not finite, of a shape the tokenizer does not know, or outside the range that it can express.
        """
        ...

    def encode_batch(self, actions: np.ndarray) -> list[list[int]]:
        """`encode` of `[n, t, a]`."""
        ...

    def decode(self, ids: Sequence[int], horizon: int, action_dim: int) -> np.ndarray:
        """Ids -> float32 `[horizon, action_dim]`.

        Raises:
            ValueError: the ids do not form exactly one chunk. Never zeros in place of a failure.
        """
        ...

    def decode_batch(self, ids: Sequence[Sequence[int]], horizon: int, action_dim: int) -> np.ndarray:
        """`decode` of several chunks -> float32 `[n, horizon, action_dim]`."""
        ...

    def grammar(self, horizon: int, action_dim: int) -> Grammar:
        """What ids may follow each other so that `decode` cannot fail."""
        ...

    def save(self, directory: Path) -> None:
        """Writes the files that `inspire_fast.tokenizers.registry.load_action_tokenizer` reads."""
        ...


@dataclass(frozen=True, kw_only=True)
class RoundTrip:
    """How well a tokenizer writes chunks, in normalised units (1 is half the width between the 1 % and 99 % quantiles).

    Attributes:
        mean_error, max_error: of `decode(encode(x)) - x`, absolute.
        mean_ids, max_ids: per chunk.
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


def round_trip(tokenizer: ActionTokenizer, chunks: np.ndarray) -> RoundTrip:
    """Writes and reads chunks `[n, t, a]`."""
    ids = tokenizer.encode_batch(chunks)
    error = np.abs(tokenizer.decode_batch(ids, *chunks.shape[1:]) - chunks)
    lengths = [len(row) for row in ids]
    return RoundTrip(
        mean_error=float(error.mean()),
        max_error=float(error.max()),
        mean_ids=float(np.mean(lengths)),
        max_ids=max(lengths),
    )


def require_chunks(actions: np.ndarray, kind: str, *, ndim: int, shape: tuple[int | None, int | None]) -> np.ndarray:
    """The chunks as float64; see `require_axes` and `require_finite` for what is refused."""
    actions = require_axes(actions, kind, ndim=ndim, shape=shape)
    require_finite(actions)
    return actions


def require_axes(actions: np.ndarray, kind: str, *, ndim: int, shape: tuple[int | None, int | None]) -> np.ndarray:
    """The chunks as float64.

    Args:
        actions: `[t, a]`, or `[n, t, a]` with `ndim=3`.
        kind: the tokenizer's name, for the message.
        ndim: 2 or 3.
        shape: horizon and action dimension that the tokenizer was made for; None takes any.

    Raises:
        ValueError: another number of dimensions, empty, or another shape.
    """
    actions = np.asarray(actions, np.float64)
    if actions.ndim != ndim or 0 in actions.shape:
        axes = {2: "[t, a]", 3: "[n, t, a]"}[ndim]
        raise ValueError(f"{kind} encodes action chunks {axes}; got an array of shape {actions.shape}.")
    require_shape(kind, shape, *actions.shape[-2:])
    return actions


def require_finite(actions: np.ndarray) -> None:
    """Raises ValueError if there is NaN or infinity, and says where it stands."""
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
    """Raises ValueError unless as many `what` were decoded as one chunk needs."""
    if got != needed:
        raise ValueError(
            f"The {kind} ids hold {got} {what}; a chunk of {horizon} x {action_dim} needs {needed}. Decode with "
            "`grammar()`, which cannot produce this."
        )
