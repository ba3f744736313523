"""A block of a network, a few rows after another: its backward pass needs the memory of a few rows.

Weight gradients of the pieces are summed in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp

TOKENS = 8192  # of one piece; products of so many rows use a GPU fully


def pieces_of(rows: int, tokens: int) -> int:
    """Number of pieces of at most `TOKENS` tokens, a divisor of the rows; 1 on a mesh of several devices.

    Between devices, the gradients of every piece would be summed on their own, which costs more than it saves.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if not mesh.empty and mesh.size > 1:
        return 1
    return next(
        count for count in range(1, rows + 1) if rows % count == 0 and rows // count * tokens <= max(TOKENS, tokens)
    )


def by_rows(block: Callable[[Array, Any, Any], Array], count: int) -> Callable[[Array, Any, Any], Array]:
    """The same function of (activations `[b, ...]`, weights, other arrays `[b, ...]`), computed in `count` pieces.

    Its backward pass keeps the arguments only and computes the block again. Other arrays have no gradient.
    """

    @jax.custom_vjp
    def run(x: Array, layer: Any, rest: Any) -> Array:
        return forward(x, layer, rest)[0]

    def forward(x: Array, layer: Any, rest: Any) -> tuple[Array, tuple[Array, Any, Any]]:
        pieces = jax.lax.map(lambda piece: block(piece[0], layer, piece[1]), _split((x, rest), count))
        return _join(pieces), (x, layer, rest)

    def backward(kept: tuple[Array, Any, Any], by_y: Array) -> tuple[Array, Any, None]:
        x, layer, rest = kept

        def add(total: Any, piece: tuple[Array, Any, Array]) -> tuple[Any, Array]:
            rows, others, by_piece = piece
            _, pull = jax.vjp(lambda x, layer: block(x, layer, others), rows, layer)
            by_x, by_layer = pull(by_piece)
            return jax.tree.map(jnp.add, total, by_layer), by_x

        zeros = jax.tree.map(lambda w: jnp.zeros(w.shape, jnp.float32), layer)
        total, by_x = jax.lax.scan(add, zeros, _split((x, rest, by_y), count))
        return _join(by_x), jax.tree.map(lambda sum_, w: sum_.astype(w.dtype), total, layer), None

    run.defvjp(forward, backward)
    return run


def _split(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), tree)


def _join(pieces: Array) -> Array:
    return pieces.reshape(-1, *pieces.shape[2:])
