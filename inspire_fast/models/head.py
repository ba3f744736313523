"""Scores of supervised tokens from the tied embedding: logits of the whole vocabulary, in pieces that memory holds.

The gradient is written out. JAX's own scatters the gradient of the target's logit into an array of the logits' size,
multiplies float32 by bfloat16, and keeps the logits of all pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from inspire_fast.models.placement import place, rows_per_device

PIECE = 2**29  # bytes of logits on one device; more than these are computed piece by piece, and again for the gradient


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a loss needs to know of the logits of a token.

    Attributes:
        normalizer: log of the softmax's denominator.
        chosen: the target's logit.
        mean: over the vocabulary.
        hit: the target has the largest logit.
    """

    normalizer: Float[Array, "b k"]
    chosen: Float[Array, "b k"]
    mean: Float[Array, "b k"]
    hit: Bool[Array, "b k"]


def logits_of(hidden: Float[Array, "... w"], table: Float[Array, "v w"]) -> Float[Array, "... v"]:
    """float32 logits; `table` in the dtype of `hidden`."""
    return jnp.einsum("...w,vw->...v", hidden, table, preferred_element_type=jnp.float32)


@jax.custom_vjp
def scores(hidden: Float[Array, "b k w"], table: Float[Array, "v w"], targets: Int[Array, "b k"]) -> Scores:
    """Scores of targets, float32.

    Args:
        hidden: final-normed hidden states.
        table: the embedding; read in the dtype of `hidden`.
        targets: ids.
    """
    return _forward(hidden, table, targets)[0]


def _forward(hidden: Array, table: Array, targets: Array) -> tuple[Scores, tuple[Any, ...]]:
    read = _read(table, hidden)
    count = _pieces(hidden, table)

    def score(piece: tuple[Array, Array]) -> tuple[Scores, Array]:
        logits = place(logits_of(piece[0], read), "batch", None, "vocabulary")
        chosen = jnp.sum(jnp.where(_is_target(logits, piece[1]), logits, 0), axis=-1)
        hit = jnp.argmax(logits, axis=-1) == piece[1]
        normalizer = jax.nn.logsumexp(logits, axis=-1)
        return Scores(normalizer=normalizer, chosen=chosen, mean=logits.mean(axis=-1), hit=hit), logits

    if count == 1:
        found, logits = score((hidden, targets))
    else:
        pieces = (_split(hidden, count), _split(targets, count))
        found = _joined(jax.lax.map(lambda piece: score(piece)[0], pieces), targets.shape[1])
        logits = None
    return found, (hidden, table, targets, found.normalizer, logits)


def _backward(kept: tuple[Any, ...], given: Scores) -> tuple[Array, Array, None]:
    hidden, table, targets, normalizer, logits = kept
    read = _read(table, hidden)
    devices = hidden.shape[0] // rows_per_device(hidden.shape[0])

    def gradients(
        h: Array, target: Array, normalizer: Array, given: tuple[Array, Array, Array], logits: Array | None = None
    ) -> tuple[Array, Array]:
        logits = place(logits_of(h, read), "batch", None, "vocabulary") if logits is None else logits
        by_normalizer, by_chosen, by_mean = (g[..., None] for g in given)
        by_logits = by_normalizer * jnp.exp(logits - normalizer[..., None]) + by_mean / logits.shape[-1]
        by_logits = by_logits + jnp.where(_is_target(logits, target), by_chosen, 0)
        by_logits = place(by_logits.astype(h.dtype), "batch", None, "vocabulary")  # products of one dtype
        by_hidden = place(jnp.einsum("bkv,vw->bkw", by_logits, read), "batch")
        # Every device sums its own rows' gradients of the table; between devices they are summed once, at the end.
        own = (place(x.reshape(devices, -1, *x.shape[1:]), "batch") for x in (by_logits, h))
        by_table = jnp.einsum("dbkv,dbkw->dvw", *own, preferred_element_type=jnp.float32)
        return by_hidden, place(by_table, "batch", "vocabulary")

    weights = (given.normalizer, given.chosen, given.mean)
    if logits is not None:
        by_hidden, by_table = gradients(hidden, targets, normalizer, weights, logits)
        return by_hidden, by_table.sum(0).astype(table.dtype), None

    def add(total: Array, piece: Any) -> tuple[Array, Array]:
        by_hidden, by_table = gradients(*piece)
        return total + by_table, by_hidden

    count = _pieces(hidden, table)
    pieces = jax.tree.map(lambda x: _split(x, count), (hidden, targets, normalizer, weights))
    zeros = place(jnp.zeros((devices, *table.shape), jnp.float32), "batch", "vocabulary")
    total, by_hidden = jax.lax.scan(add, zeros, pieces)
    return _joined(by_hidden, targets.shape[1]), total.sum(0).astype(table.dtype), None


scores.defvjp(_forward, _backward)


def _read(table: Array, hidden: Array) -> Array:
    """The table as products read it: in their dtype, and its width whole on every device."""
    return place(table.astype(hidden.dtype), "vocabulary")


def _is_target(logits: Array, targets: Array) -> Array:
    return jax.lax.broadcasted_iota(targets.dtype, logits.shape, logits.ndim - 1) == targets[..., None]


def _pieces(hidden: Array, table: Array) -> int:
    size = rows_per_device(hidden.shape[0]) * hidden.shape[1] * table.shape[0] * 4
    return min(math.ceil(size / PIECE), hidden.shape[1])


def _split(x: Array, count: int) -> Array:
    """`[b, k, ...]` -> `[count, b, k / count, ...]`; zeros fill the last piece."""
    length = math.ceil(x.shape[1] / count)
    padded = jnp.pad(x, [(0, 0), (0, count * length - x.shape[1])] + [(0, 0)] * (x.ndim - 2))
    return jnp.moveaxis(padded.reshape(x.shape[0], count, length, *x.shape[2:]), 1, 0)


def _joined(pieces: Any, length: int) -> Any:
    """The inverse of `_split`, for every array of a tree."""

    def join(x: Array) -> Array:
        return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1, *x.shape[3:])[:, :length]

    return jax.tree.map(join, pieces)
