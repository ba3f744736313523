"""Pure functions that both towers are made of. Norms, softmax and attention logits are float32 whatever the activations are."""

from __future__ import annotations

import jax
import jax.numpy as jnp

MASKED = -2.3819763e38  # Gemma's constant: finite, so that a fully masked row is uniform instead of NaN


def image_to_float(image: jax.Array) -> jax.Array:
    """Images uint8 0..255 -> float32 in [-1, 1], any shape; floats are taken to be in that range and pass as float32.

    Raises:
        ValueError: another type: its range would be a guess.
    """
    if image.dtype == jnp.uint8:
        return image.astype(jnp.float32) / 255.0 * 2.0 - 1.0
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(f"An image is uint8, or float in [-1, 1]; got {image.dtype} {image.shape}.")
    return image.astype(jnp.float32)


def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """LayerNorm over the last axis, epsilon 1e-6 (SigLIP)."""
    y = x.astype(jnp.float32)
    y = (y - y.mean(-1, keepdims=True)) * jax.lax.rsqrt(y.var(-1, keepdims=True) + 1e-6)
    return (y * scale + bias).astype(x.dtype)


def rms_norm(x: jax.Array, scale: jax.Array, eps: float = 1e-6) -> jax.Array:
    """RMSNorm over the last axis, times `1 + scale` (Gemma)."""
    y = x.astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(jnp.square(y), -1, keepdims=True) + eps)
    return (y * (1 + scale.astype(jnp.float32))).astype(x.dtype)


def rope(x: jax.Array, positions: jax.Array, max_wavelength: float = 10_000.0) -> jax.Array:
    """Rotary positions: `x [b, l, n, h]`, `positions [b, l]`; the first half of `h` pairs with the second."""
    half = x.shape[-1] // 2
    timescale = max_wavelength ** (2 * jnp.arange(half, dtype=jnp.float32) / x.shape[-1])
    angle = (positions[..., None].astype(jnp.float32) / timescale)[:, :, None, :]
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    x1, x2 = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([x1 * cos - x2 * sin, x2 * cos + x1 * sin], axis=-1).astype(x.dtype)


def attention_probabilities(q: jax.Array, k: jax.Array, mask: jax.Array | None) -> jax.Array:
    """float32 `[b, g, r, l, s]`: how much each query head sees of each key; a fully masked row is uniform. See `attend`."""
    b, length, n, h = q.shape
    grouped = q.reshape(b, length, k.shape[2], n // k.shape[2], h)
    logits = jnp.einsum("blgrh,bsgh->bgrls", grouped, k, preferred_element_type=jnp.float32)
    if mask is not None:
        logits = jnp.where(mask[:, None, None], logits, MASKED)
    return jax.nn.softmax(logits, axis=-1)


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Softmax attention with shared key/value heads.

    Args:
        q: `[b, l, n, h]`, already scaled.
        k: `[b, s, g, h]` with `g` key/value heads, `n` a multiple of `g`.
        v: `[b, s, g, h]`.
        mask: bool `[b, l, s]`, True where attended, or None for everything.

    Returns:
        `[b, l, n, h]`.
    """
    probabilities = attention_probabilities(q, k, mask).astype(q.dtype)
    return jnp.einsum("bgrls,bsgh->blgrh", probabilities, v).reshape(q.shape)


def attention_mask(block: jax.Array, valid: jax.Array) -> jax.Array:
    """bool `[b, l, l]`: row attends to column.

    For blocks 0 0 1 2, the last one padding:

    1 1 0 0
    1 1 0 0
    1 1 1 0
    0 0 0 0
    """
    sees = block[:, None, :] <= block[:, :, None]
    return sees & valid[:, None, :] & valid[:, :, None]
