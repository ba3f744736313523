"""Decoding as openpi does it, errors included: the compatibility option `openpi_decode`.

For comparing with upstream's own outputs; the right way is `Pi0Fast.prefill` / `extend`. What differs from training:

1. The first token that the model writes stands at position `read + 1` instead of `read`, and all later ones behind it.
2. The prompt is shifted to the right end of the cache, and a row sees the last `read` slots, where `read` counts its real
   tokens. With a masked camera that window cuts off the first real tokens and uncovers the masked ones, whose attention
   was uniform over all slots, empty ones included. Positions count real tokens only, so they shift behind a masked camera.
3. Rows stop only when all of them write the end token in the same step; until then a finished row goes on.

Observed behaviour of openpi's pi0-FAST `sample_actions`, held to its outputs by the golden vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from inspire_fast.models.block import finish, project
from inspire_fast.models.gemma import Gemma
from inspire_fast.models.layers import attend, attention_mask
from inspire_fast.models.pi0_fast import Pi0Fast


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class OpenpiCache:
    """Keys and values in reading order from the right end of the prompt on; letters as in `KVCache`.

    Attributes:
        k, v: `[d, b, s, g, h]`; slots behind the prompt are zero until written.
        read: int32 `[b]`, real tokens of the prompt.
        steps: int32, tokens read behind it.
    """

    k: jax.Array
    v: jax.Array
    read: jax.Array
    steps: jax.Array


def prefill(
    model: Pi0Fast,
    images: Mapping[str, jax.Array],
    image_mask: Mapping[str, jax.Array],
    ids: jax.Array,
    valid: jax.Array,
    block: jax.Array,
    *,
    room: int,
) -> tuple[jax.Array, OpenpiCache]:
    """Reads the prompt; arguments as for the network itself. Returns the logits of the next token `[b, v]` and the cache.

    `room` is the number of slots behind the prompt. It matters to the numbers where a camera is masked (see 2 above).
    """
    x, valid, block = model.sequence(images, image_mask, ids, valid, block)
    size = x.shape[1]
    end = jnp.max(jnp.where(valid, jnp.arange(size), -1), axis=1) + 1
    order = (jnp.arange(size) + end[:, None]) % size
    x = jnp.take_along_axis(x, order[..., None], axis=1)
    valid, block = (jnp.take_along_axis(row, order, axis=1) for row in (valid, block))
    config, positions = model.config.language, jnp.cumsum(valid, axis=1) - 1
    empty = jnp.zeros((config.depth, x.shape[0], size + room, config.kv_heads, config.head_dim), x.dtype)
    mask = jnp.pad(attention_mask(block, valid), [(0, 0), (0, 0), (0, room)])
    hidden, k, v = _read(model.language, x, empty, empty, jnp.int32(0), positions, mask)
    cache = OpenpiCache(k=k, v=v, read=valid.sum(axis=1), steps=jnp.int32(0))
    return model.logits(hidden[:, -1]), cache


def step(model: Pi0Fast, cache: OpenpiCache, token: jax.Array, *, room: int) -> tuple[jax.Array, OpenpiCache]:
    """Reads one token per row, int `[b]`; returns the next token's logits `[b, v]` and the cache."""
    slots = jnp.arange(cache.k.shape[2])
    size = cache.k.shape[2] - room
    slot = size + cache.steps
    mask = (slots >= (size - cache.read)[:, None]) & (slots <= slot)
    positions = (cache.read + cache.steps + 1)[:, None]
    x = model.language.embed(token[:, None], model.dtype)
    hidden, k, v = _read(model.language, x, cache.k, cache.v, slot, positions, mask[:, None])
    return model.logits(hidden[:, 0]), OpenpiCache(k=k, v=v, read=cache.read, steps=cache.steps + 1)


def _read(
    language: Gemma, x: jax.Array, k: jax.Array, v: jax.Array, slot: jax.Array, positions: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`x [b, m, w]` through all blocks, its keys and values written from `slot` on; `mask` is bool `[b, m, s]`."""

    def block(x: jax.Array, layer: tuple[dict[str, Any], jax.Array, jax.Array]) -> tuple[jax.Array, Any]:
        weights, keys, values = layer
        q, k, v = project(language.config, x, weights, positions)
        keys = jax.lax.dynamic_update_slice_in_dim(keys, k, slot, axis=1)
        values = jax.lax.dynamic_update_slice_in_dim(values, v, slot, axis=1)
        return finish(language.config, x, weights, attend(q, keys, values, mask)), (keys, values)

    x, (k, v) = jax.lax.scan(block, x, (language.layers.stacked(), k, v))
    return language.normed(x), k, v
