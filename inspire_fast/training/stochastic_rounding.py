"""Stochastic rounding: training without float32 masters, with arithmetic in float32 and storage in bfloat16.

bfloat16 has 8 bits of mantissa: rounding to the nearest value loses every update below 1/256 of a weight, which at
usual learning rates are nearly all. Rounding up or down at random, with probabilities that keep the mean, preserves
updates on average (Gupta et al. 2015, "Deep learning with limited numerical precision"). Moments and EMA are stored the
same way.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")
Precision = Literal["mixed", "bfloat16"]


def widened(tree: T) -> T:
    """The tree with floating-point leaves in float32."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def rounded(tree: T, like: T, key: jax.Array) -> T:
    """float32 leaves in the dtypes of `like`; rounding to bfloat16 is random and keeps the mean.

    Args:
        tree: arrays.
        like: a tree of the same structure with the wanted dtypes.
        key: random key of all roundings.
    """
    leaves, shape = jax.tree.flatten(tree)
    seeds = jax.random.bits(key, (len(leaves),), jnp.uint32)
    pairs = zip(leaves, jax.tree.leaves(like), seeds, strict=True)
    return jax.tree.unflatten(shape, [_rounded(x, old.dtype, seed) for x, old, seed in pairs])


def _rounded(x: jax.Array, dtype: Any, seed: jax.Array) -> jax.Array:
    if dtype != jnp.bfloat16 or x.dtype != jnp.float32:
        return x.astype(dtype)
    # bfloat16 is the upper half of a float32. Adding 16 random bits to the lower half carries into the upper half with
    # the probability lower / 2^16, which is the fraction of the way to the next bfloat16.
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) + (_hashed(x.shape, seed) & jnp.uint32(0xFFFF))
    up = jax.lax.bitcast_convert_type(bits & jnp.uint32(0xFFFF0000), jnp.float32).astype(jnp.bfloat16)
    return jnp.where(jnp.isfinite(x), up, x.astype(jnp.bfloat16))


def _hashed(shape: tuple[int, ...], seed: jax.Array) -> jax.Array:
    """uint32 of `shape`, each a hash of its index and the seed: random enough for rounding, and the same on every mesh.

    JAX's own generator took minutes to compile, because every parameter needs it four times.
    """
    place = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    return _mixed(_mixed(place) ^ seed)


def _mixed(x: jax.Array) -> jax.Array:
    """A 32-bit bijection in which every output bit depends on all input bits (Wellons' "lowbias32", public domain)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
