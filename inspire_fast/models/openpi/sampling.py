"""Writing free text behind a prompt: any id may come, where the policy's decoder allows only what a slot allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from inspire_fast.models.openpi import decode as upstream
from inspire_fast.models.pi0_fast import Pi0Fast

PALIGEMMA_EOS = 1
Read = Callable[[Any, jax.Array], tuple[jax.Array, Any]]


@partial(jax.jit, static_argnames=("max_decoding_steps", "openpi_decode"))
def sample(
    model: Pi0Fast,
    images: Mapping[str, jax.Array],
    image_mask: Mapping[str, jax.Array],
    ids: jax.Array,
    valid: jax.Array,
    block: jax.Array,
    *,
    max_decoding_steps: int,
    temperature: float | jax.Array = 0.0,
    key: jax.Array | None = None,
    eos: int | jax.Array = PALIGEMMA_EOS,
    openpi_decode: bool = False,
) -> jax.Array:
    """Samples tokens until the end token. One compiled program per shape, `max_decoding_steps` and option.

    Args:
        model: the network.
        images: see `Pi0Fast.embed_images`.
        image_mask: bool `[b]` per camera; masked cameras may stand anywhere.
        ids: int `[b, l]`, the prompt.
        valid: bool `[b, l]`, False on padding, which lies behind the text.
        block: int `[b, l]`, see `TokenSequence.block`; openpi's prompts are one bidirectional block, all 0.
        max_decoding_steps: tokens at most.
        temperature: 0 is greedy.
        key: for sampling; needed where the temperature is not 0.
        eos: id of the end token.
        openpi_decode: decode as openpi does, its errors included (see `models/openpi/decode.py`).

    Returns:
        int32 `[b, max_decoding_steps]`. A row ends with its end token and is 0 behind it; with `openpi_decode`, rows go on
        until all of them write the end token in the same step.
    """
    arguments = (images, image_mask, ids, valid, block)
    logits, cache, read = _begin(model, *arguments, room=max_decoding_steps, openpi_decode=openpi_decode)

    def unfinished(carry: tuple) -> jax.Array:
        step, _, _, _, ended, _ = carry
        return (step < max_decoding_steps) & ~ended.all()

    def write(carry: tuple) -> tuple:
        step, logits, cache, out, ended, key = carry
        key, own = jax.random.split(key)
        token = _choose(logits, temperature, own)
        if openpi_decode:
            ended = token == eos
        else:
            token = jnp.where(ended, 0, token)
            ended = ended | (token == eos)
        logits, cache = read(cache, token)
        return step + 1, logits, cache, out.at[:, step].set(token), ended, key

    rows, key = ids.shape[0], jax.random.key(0) if key is None else key
    out = jnp.zeros((rows, max_decoding_steps), jnp.int32)
    start = (jnp.int32(0), logits, cache, out, jnp.zeros(rows, bool), key)
    return jax.lax.while_loop(unfinished, write, start)[3]


@partial(jax.jit, static_argnames=("room", "openpi_decode"))
def forced_logits(
    model: Pi0Fast,
    images: Mapping[str, jax.Array],
    image_mask: Mapping[str, jax.Array],
    ids: jax.Array,
    valid: jax.Array,
    block: jax.Array,
    forced: jax.Array,
    *,
    room: int | None = None,
    openpi_decode: bool = False,
) -> jax.Array:
    """Logits `[b, n + 1, v]` of the cached pass in front of and behind each of the given tokens `forced`, int `[b, n]`.

    Arguments as for `sample`; `room` is its `max_decoding_steps`, None is `n`.
    """
    room = forced.shape[1] if room is None else room
    logits, cache, read = _begin(model, images, image_mask, ids, valid, block, room=room, openpi_decode=openpi_decode)

    def follow(cache: Any, token: jax.Array) -> tuple[Any, jax.Array]:
        logits, cache = read(cache, token)
        return cache, logits

    _, behind = jax.lax.scan(follow, cache, forced.astype(jnp.int32).T)
    return jnp.concatenate([logits[:, None], behind.swapaxes(0, 1)], axis=1)


def _begin(
    model: Pi0Fast,
    images: Mapping[str, jax.Array],
    image_mask: Mapping[str, jax.Array],
    ids: jax.Array,
    valid: jax.Array,
    block: jax.Array,
    *,
    room: int,
    openpi_decode: bool,
) -> tuple[jax.Array, Any, Read]:
    """Reads the prompt: the next token's logits `[b, v]`, a cache, and how the cache reads one token per row `[b]`."""
    if openpi_decode:
        logits, cache = upstream.prefill(model, images, image_mask, ids, valid, block, room=room)
        return logits, cache, partial(upstream.step, model, room=room)
    lengths = valid.sum(axis=1).astype(jnp.int32)
    hidden, cache = model.prefill(images, image_mask, ids, lengths, block, ids.shape[1] + room)
    last = jnp.take_along_axis(hidden, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)

    def read(cache: Any, token: jax.Array) -> tuple[jax.Array, Any]:
        hidden, cache = model.extend(cache, token[:, None], jnp.ones_like(token))
        return model.logits(hidden[:, 0]), cache

    return model.logits(last[:, 0]), cache, read


def _choose(logits: jax.Array, temperature: float | jax.Array, key: jax.Array) -> jax.Array:
    """int32 `[b]`: drawn, or the most likely ones at temperature 0."""

    def draw() -> jax.Array:
        return jax.random.categorical(key, logits / temperature)

    return jax.lax.cond(temperature > 0, draw, lambda: jnp.argmax(logits, axis=-1)).astype(jnp.int32)
