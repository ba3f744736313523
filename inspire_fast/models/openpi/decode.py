"""openpi's own decoding, errors included: the compatibility option `openpi_decode`.

It exists for comparing with upstream's outputs; the right way to decode is `models/inference`. Three things differ from
training:

1. The first token that the model writes has position `read + 1` instead of `read`, and all later ones follow it.
2. The prompt is shifted to the right end of the cache, and a row sees the last `read` slots, where `read` counts its
   real tokens. With a masked camera, that window cuts off the first real tokens and uncovers the masked ones, whose
   attention was uniform over all slots, empty ones included. Positions count real tokens only, so they shift after a
   masked camera.
3. Rows stop only when all of them write the end token in the same step; until then, a finished row continues.

Observed behaviour of openpi's pi0-FAST `sample_actions`; the golden vectors hold it to openpi's outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Int32

from inspire_fast.models.block import finish, project
from inspire_fast.models.gemma import Gemma
from inspire_fast.models.layers import attend, attention_mask
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.sequence import ImageMask, Images

PALIGEMMA_EOS = 1


class Prompt(NamedTuple):
    """A batch of prompts as openpi reads them: images and text in one bidirectional block.

    Attributes:
        images: uint8, or float in [-1, 1], by camera.
        image_mask: by camera; any camera may be masked.
        ids: text ids, padded at the end.
        valid: False on padding.
    """

    images: Images
    image_mask: ImageMask
    ids: Int[Array, "b l"]
    valid: Bool[Array, "b l"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class OpenpiCache:
    """Keys and values in reading order, the prompt's last token in the last slot before the free ones.

    Attributes:
        k, v: slots after the prompt are zero until written.
        read: real tokens of the prompt.
        steps: tokens read after it.
    """

    k: Float[Array, "d b s g h"]
    v: Float[Array, "d b s g h"]
    read: Int[Array, " b"]
    steps: Int32[Array, ""]


class _Progress(NamedTuple):
    """Carry of the sampling loop."""

    step: Int32[Array, ""]
    logits: Float[Array, "b v"]
    cache: OpenpiCache
    written: Int32[Array, "b t"]
    ended: Bool[Array, " b"]
    key: Array


@partial(jax.jit, static_argnames=("max_decoding_steps",))
def sample(
    model: Pi0Fast,
    prompt: Prompt,
    *,
    max_decoding_steps: int,
    temperature: float | Float[Array, ""] = 0.0,
    key: Array | None = None,
    eos: int | Int[Array, ""] = PALIGEMMA_EOS,
) -> Int32[Array, "b t"]:
    """Samples free text until all rows write the end token in the same step.

    Args:
        model: the network.
        prompt: images and text.
        max_decoding_steps: the largest number of tokens; with a masked camera, it changes the numbers (2 above).
        temperature: 0 is greedy.
        key: for sampling; needed where the temperature is not 0.
        eos: id of the end token.

    Returns:
        `max_decoding_steps` ids per row, 0 after the end.
    """
    logits, cache = prefill(model, prompt, max_decoding_steps=max_decoding_steps)

    def unfinished(now: _Progress) -> Bool[Array, ""]:
        return (now.step < max_decoding_steps) & ~now.ended.all()

    def write(now: _Progress) -> _Progress:
        key, own = jax.random.split(now.key)
        draw = lambda: jax.random.categorical(own, now.logits / temperature)  # noqa: E731
        token = jax.lax.cond(temperature > 0, draw, lambda: jnp.argmax(now.logits, axis=-1)).astype(jnp.int32)
        logits, cache = step(model, now.cache, token, max_decoding_steps=max_decoding_steps)
        written = now.written.at[:, now.step].set(token)
        return _Progress(now.step + 1, logits, cache, written, token == eos, key)

    rows, key = prompt.ids.shape[0], jax.random.key(0) if key is None else key
    written = jnp.zeros((rows, max_decoding_steps), jnp.int32)
    start = _Progress(jnp.int32(0), logits, cache, written, jnp.zeros(rows, bool), key)
    return jax.lax.while_loop(unfinished, write, start).written


def prefill(model: Pi0Fast, prompt: Prompt, *, max_decoding_steps: int) -> tuple[Float[Array, "b v"], OpenpiCache]:
    """Reads the prompt: logits of the next token, and a cache with `max_decoding_steps` free slots."""
    x, valid, block = model.sequence(*prompt, jnp.zeros_like(prompt.ids))
    size = x.shape[1]
    # Rotate every row so that its last real token (of text, which comes after all images) is in the last slot.
    end = jnp.max(jnp.where(valid, jnp.arange(size), -1), axis=1) + 1
    order = (jnp.arange(size) + end[:, None]) % size
    x = jnp.take_along_axis(x, order[..., None], axis=1)
    valid, block = (jnp.take_along_axis(row, order, axis=1) for row in (valid, block))
    config, positions = model.config.language, jnp.cumsum(valid, axis=1) - 1  # only real tokens are counted
    empty = jnp.zeros((config.depth, x.shape[0], size + max_decoding_steps, config.kv_heads, config.head_dim), x.dtype)
    # Masked queries have no true entry at all: their attention is uniform, also over the free slots.
    mask = jnp.pad(attention_mask(block, valid), [(0, 0), (0, 0), (0, max_decoding_steps)])
    hidden, k, v = _read(model.language, x, (empty, empty), jnp.int32(0), positions, mask)
    cache = OpenpiCache(k=k, v=v, read=valid.sum(axis=1), steps=jnp.int32(0))
    return model.logits(hidden[:, -1]), cache


def step(
    model: Pi0Fast, cache: OpenpiCache, token: Int[Array, " b"], *, max_decoding_steps: int
) -> tuple[Float[Array, "b v"], OpenpiCache]:
    """Reads one token per row: logits of the next one, and the cache; `max_decoding_steps` as given to `prefill`."""
    slots = jnp.arange(cache.k.shape[2])
    size = cache.k.shape[2] - max_decoding_steps
    slot = size + cache.steps
    mask = (slots >= (size - cache.read)[:, None]) & (slots <= slot)
    positions = (cache.read + cache.steps + 1)[:, None]
    x = model.language.embed(token[:, None], model.dtype)
    hidden, k, v = _read(model.language, x, (cache.k, cache.v), slot, positions, mask[:, None])
    return model.logits(hidden[:, 0]), OpenpiCache(k=k, v=v, read=cache.read, steps=cache.steps + 1)


def _read(
    language: Gemma,
    x: Float[Array, "b m w"],
    cache: tuple[Array, Array],
    slot: Int32[Array, ""],
    positions: Int[Array, "b m"],
    mask: Bool[Array, "b m s"],
) -> tuple[Float[Array, "b m w"], Float[Array, "d b s g h"], Float[Array, "d b s g h"]]:
    """`x` through all blocks, with its keys and values written to the cache from `slot` on."""

    def block(x: Array, layer: tuple[dict[str, Any], Array, Array]) -> tuple[Array, Any]:
        weights, keys, values = layer
        q, k, v = project(language.config, x, weights, positions)
        keys = jax.lax.dynamic_update_slice_in_dim(keys, k, slot, axis=1)
        values = jax.lax.dynamic_update_slice_in_dim(values, v, slot, axis=1)
        return finish(language.config, x, weights, attend(q, keys, values, mask)), (keys, values)

    x, (k, v) = jax.lax.scan(block, x, (language.layers.stacked(), *cache))
    return language.normed(x), k, v
