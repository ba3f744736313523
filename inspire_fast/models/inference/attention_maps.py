"""Attention maps: the probabilities with which chosen queries of chosen layers look at every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax import Array
from jax.core import Tracer
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from inspire_fast.models.block import finish, project
from inspire_fast.models.gemma import Gemma
from inspire_fast.models.layers import attend, attention_mask, attention_probabilities
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.sequence import ImageMask, Images, positions_of


def attention_maps(
    model: Pi0Fast,
    images: Images,
    image_mask: ImageMask,
    ids: Int[Array, "b l"],
    valid: Bool[Array, "b l"],
    block: Int[Array, "b l"],
    *,
    layers: Sequence[int],
    queries: Any,
) -> Float[Array, "d b n k s"]:
    """The teacher-forced pass up to the last layer asked for, of which the given queries' probabilities are kept.

    Args:
        model: the network.
        images: as for `Pi0Fast.embed_images`.
        image_mask: by camera.
        ids: text ids.
        valid: False on padding.
        block: attention blocks, see `TokenSequence.block`.
        layers: of the language model, from 0; static under `jax.jit`.
        queries: int `[k]`, or `[b, k]` where rows differ: positions in the whole sequence. Camera `c` (in sorted order
            of the names) has positions from `c * tokens_per_image`, row by row of its patch grid; text begins at
            `image_tokens`.

    Returns:
        float32, one map per layer asked for: probabilities over all `s` positions. They sum to 1, and what a query may
        not see is exactly 0. A query that is itself padding or of a masked camera sees nothing: its row is 0.

    Raises:
        ValueError: a layer or query that does not exist, or no layer.
    """
    depth = model.config.language.depth
    if not layers or any(not 0 <= layer < depth for layer in layers):
        raise ValueError(f"Layers {list(layers)} are not among the network's 0..{depth - 1}.")
    x, valid, block = model.sequence(images, image_mask, ids, valid, block)
    chosen = _checked(jnp.asarray(queries), x.shape[0], x.shape[1])
    return _first_layers(model.language, x, attention_mask(block, valid), chosen, max(layers) + 1)[jnp.array(layers)]


def _first_layers(
    language: Gemma, x: Float[Array, "b s w"], mask: Bool[Array, "b s s"], chosen: Int[Array, "b k"], count: int
) -> Float[Array, "d b n k s"]:
    """Probabilities of the chosen queries in the first `count` layers."""
    config, positions, rows = language.config, positions_of(x), jnp.arange(x.shape[0])[:, None]

    def read(x: Array, layer: dict[str, Any]) -> tuple[Array, Array]:
        q, k, v = project(config, x, layer, positions)
        seen = mask[rows, chosen]  # [b, k, s]
        p = jnp.where(seen[:, None, None], attention_probabilities(q[rows, chosen], k, seen), 0.0)  # [b, g, r, k, s]
        return finish(config, x, layer, attend(q, k, v, mask)), p.reshape(p.shape[0], -1, *p.shape[3:])

    weights = jax.tree.map(lambda w: w[:count], language.layers.stacked())
    return jax.lax.scan(read, x, weights)[1]


def _checked(queries: Array, rows: int, length: int) -> Int[Array, "b k"]:
    """Queries of every row; their values are checked only where they are known (not under `jax.jit`)."""
    if not isinstance(queries, Tracer) and ((queries < 0) | (queries >= length)).any():
        raise ValueError(f"Queries {queries.tolist()} are not all positions of the sequence, 0..{length - 1}.")
    return jnp.broadcast_to(queries, (rows, queries.shape[-1]))
