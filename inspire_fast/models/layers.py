"""Pure functions of both towers: norms, rotary positions, attention and its masks.

Norms, softmax and attention logits are float32, whatever the activations are.
"""

from __future__ import annotations

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Num

MASKED = -2.3819763e38  # Gemma's constant: finite, so that a fully masked row is uniform instead of NaN


def image_to_float(image: Num[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Pixels from uint8 0..255 to float32 in [-1, 1]; floats are taken to be in that range and pass as float32.

    Raises:
        ValueError: another type, whose range would be a guess.
    """
    if image.dtype == jnp.uint8:
        return image.astype(jnp.float32) / 255.0 * 2.0 - 1.0
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(f"An image is uint8, or float in [-1, 1]; got {image.dtype} {image.shape}.")
    return image.astype(jnp.float32)


def layer_norm(x: Float[Array, "... w"], scale: Float[Array, " w"], bias: Float[Array, " w"]) -> Float[Array, "... w"]:
    """LayerNorm over the last axis, epsilon 1e-6 (SigLIP)."""
    y = x.astype(jnp.float32)
    y = (y - y.mean(-1, keepdims=True)) * jax.lax.rsqrt(y.var(-1, keepdims=True) + 1e-6)
    return (y * scale + bias).astype(x.dtype)


def rms_norm(x: Float[Array, "... w"], scale: Float[Array, " w"], eps: float = 1e-6) -> Float[Array, "... w"]:
    """RMSNorm over the last axis, times `1 + scale` (Gemma)."""
    y = x.astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(jnp.square(y), -1, keepdims=True) + eps)
    return (y * (1 + scale.astype(jnp.float32))).astype(x.dtype)


def rope(
    x: Float[Array, "b l n h"], positions: Int[Array, "b l"], max_wavelength: float = 10_000.0
) -> Float[Array, "b l n h"]:
    """Rotary positions (Su et al. 2021, "RoFormer"); the first half of a head pairs with its second half."""
    half = x.shape[-1] // 2
    timescale = max_wavelength ** (2 * jnp.arange(half, dtype=jnp.float32) / x.shape[-1])
    angle = (positions[..., None].astype(jnp.float32) / timescale)[
        :, :, None, :
    ]  # [b, l, 1, h / 2], equal for all heads
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    x1, x2 = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([x1 * cos - x2 * sin, x2 * cos + x1 * sin], axis=-1).astype(x.dtype)


def attention_probabilities(
    q: Float[Array, "b l n h"], k: Float[Array, "b s g h"], mask: Bool[Array, "b l s"] | None
) -> Float[Array, "b g r l s"]:
    """Softmax of queries over keys, float32. A fully masked row is uniform. Arguments as for `attend`."""
    b, length, n, h = q.shape
    # Query heads n = (g, r): r neighbours share one key head, so that k is never repeated in memory.
    grouped = q.reshape(b, length, k.shape[2], n // k.shape[2], h)
    logits = jnp.einsum("blgrh,bsgh->bgrls", grouped, k, preferred_element_type=jnp.float32)
    if mask is not None:
        # Any logit vanishes beside MASKED. A sum needs no array of the logits' size for its gradient; `where` does.
        logits = logits + jnp.where(mask, 0.0, MASKED)[:, None, None]
    return jax.nn.softmax(logits, axis=-1)


def attend(
    q: Float[Array, "b l n h"],
    k: Float[Array, "b s g h"],
    v: Float[Array, "b s g h"],
    mask: Bool[Array, "b l s"] | None,
) -> Float[Array, "b l n h"]:
    """Softmax attention with shared key/value heads.

    Args:
        q: queries, already scaled; `n` is a multiple of `g`.
        k: keys.
        v: values.
        mask: True where attended, or None for everything.
    """
    probabilities = attention_probabilities(q, k, mask).astype(q.dtype)
    return jnp.einsum("bgrls,bsgh->blgrh", probabilities, v).reshape(q.shape)


def attention_mask(block: Int[Array, "b l"], valid: Bool[Array, "b l"]) -> Bool[Array, "b l l"]:
    """True where the row's token attends to the column's: to its own block and those before it, never to padding.

    For blocks 0 0 1 2, the last one padding:

    1 1 0 0
    1 1 0 0
    1 1 1 0
    0 0 0 0
    """
    sees = block[:, None, :] <= block[:, :, None]
    return sees & valid[:, None, :] & valid[:, :, None]


def cache_mask(attends_to: Int[Array, "b m"], valid: Bool[Array, "b s"]) -> Bool[Array, "b m s"]:
    """True where a chunk's token attends to a slot of the cache: up to position `attends_to`, if the slot is valid.

    For three tokens with `attends_to` 3 3 4, of which the first two see each other, and slots 1 0 1 1 1 1 (the second
    one belongs to a masked camera):

    1 0 1 1 0 0
    1 0 1 1 0 0
    1 0 1 1 1 0
    """
    slots = jnp.arange(valid.shape[1])
    return (slots[None, None] <= attends_to[:, :, None]) & valid[:, None]
