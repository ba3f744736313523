"""Training without float32 masters: arithmetic in float32, storage in bfloat16, rounded at random.

bfloat16 has 8 bits of mantissa: an update below 1/256 of a weight, and at usual learning rates nearly all are, vanishes when it
is rounded to the nearest value. Rounded up or down at random, with the probability that makes the mean right, it arrives on
average (Gupta et al. 2015, "Deep learning with limited numerical precision"). Moments and the average are stored the same way.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")
Precision = Literal["mixed", "bfloat16"]


def widened(tree: T) -> T:
    """Floating-point leaves in float32; the others as they are."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def rounded(tree: T, like: T, key: jax.Array) -> T:
    """float32 leaves in the dtypes of `like`; to bfloat16 at random, with a mean that is the value itself.

    Args:
        tree: arrays.
        like: the same tree, whose dtypes count.
        key: decides every leaf's roundings.
    """
    leaves, shape = jax.tree.flatten(tree)
    seeds = jax.random.bits(key, (len(leaves),), jnp.uint32)
    pairs = zip(leaves, jax.tree.leaves(like), seeds, strict=True)
    return jax.tree.unflatten(shape, [_rounded(x, old.dtype, seed) for x, old, seed in pairs])


def _rounded(x: jax.Array, dtype: Any, seed: jax.Array) -> jax.Array:
    if dtype != jnp.bfloat16 or x.dtype != jnp.float32:
        return x.astype(dtype)
    # bfloat16 is the upper half of a float32: what is added to the lower half carries with the probability that it stands for.
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) + (_hashed(x.shape, seed) & jnp.uint32(0xFFFF))
    up = jax.lax.bitcast_convert_type(bits & jnp.uint32(0xFFFF0000), jnp.float32).astype(jnp.bfloat16)
    return jnp.where(jnp.isfinite(x), up, x.astype(jnp.bfloat16))


def _hashed(shape: tuple[int, ...], seed: jax.Array) -> jax.Array:
    """uint32 of `shape`, each a hash of its place and the seed: as good as drawn for a rounding, the same on every mesh, and free.

    JAX's own generator took minutes to compile, four times per parameter.
    """
    place = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    return _mixed(_mixed(place) ^ seed)


def _mixed(x: jax.Array) -> jax.Array:
    """A bijection of 32 bits in which every bit depends on all (the constants are Wellons' "lowbias32", public domain)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
