"""Attention probabilities of chosen layers and queries: what a token looked at. Beside the normal path, which it leaves alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.core import Tracer
import jax.numpy as jnp

from inspire_fast.models.block import finish, project
from inspire_fast.models.layers import attend, attention_mask, attention_probabilities
from inspire_fast.models.pi0_fast import Pi0Fast, positions_of


def attention_maps(
    model: Pi0Fast,
    images: Mapping[str, jax.Array],
    image_mask: Mapping[str, jax.Array],
    ids: jax.Array,
    valid: jax.Array,
    block: jax.Array,
    *,
    layers: Sequence[int],
    queries: jax.Array | Sequence[int],
) -> jax.Array:
    """Runs the teacher-forced pass up to the last asked layer and keeps the probabilities of the asked queries only.

    Args:
        model: the network.
        images: see `Pi0Fast.embed_images`.
        image_mask: bool `[b]` per camera.
        ids: int `[b, l]`.
        valid: bool `[b, l]`.
        block: int `[b, l]`, see `TokenSequence.block`.
        layers: of the language model, from 0; static under `jax.jit`.
        queries: int `[k]`, or `[b, k]` where rows differ: positions in the whole sequence. Camera `c` (in sorted order of
            the names) has positions `c * tokens_per_image` on, row by row of its patch grid; text begins at `image_tokens`.

    Returns:
        float32 `[layers, b, n, k, s]` over all `s` positions: rows sum to 1, and what a query may not see is exactly 0. A
        query that is itself padding or of a masked camera sees nothing: its row is 0.

    Raises:
        ValueError: a layer or query that does not exist, or no layer.
    """
    depth = model.config.language.depth
    wrong = [layer for layer in layers if not 0 <= layer < depth]
    if wrong or not layers:
        raise ValueError(f"Layers {list(layers)} are not among the network's 0..{depth - 1}.")
    x, valid, block = model.sequence(images, image_mask, ids, valid, block)
    chosen = _checked(jnp.asarray(queries), x.shape[0], x.shape[1])
    mask, positions, config = attention_mask(block, valid), positions_of(x), model.config.language
    rows = jnp.arange(x.shape[0])[:, None]

    def read(x: jax.Array, layer: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
        q, k, v = project(config, x, layer, positions)
        seen = mask[rows, chosen]
        p = jnp.where(seen[:, None, None], attention_probabilities(q[rows, chosen], k, seen), 0.0)
        return finish(config, x, layer, attend(q, k, v, mask)), p.reshape(p.shape[0], -1, *p.shape[3:])

    weights = jax.tree.map(lambda w: w[: max(layers) + 1], model.language.layers.stacked())
    _, probabilities = jax.lax.scan(read, x, weights)
    return probabilities[jnp.array(layers)]


def _checked(queries: jax.Array, rows: int, length: int) -> jax.Array:
    """int `[b, k]`; values are looked at only where they are known (not under `jax.jit`)."""
    if not isinstance(queries, Tracer) and ((queries < 0) | (queries >= length)).any():
        raise ValueError(f"Queries {queries.tolist()} are not all positions of the sequence, 0..{length - 1}.")
    return jnp.broadcast_to(queries, (rows, queries.shape[-1]))
