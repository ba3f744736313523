"""Attention kernels: XLA's everywhere, cuDNN's flash attention on GPUs that have it for the head width.

Attention over a cache compares a few queries with many keys and is bound by reading them; XLA's products are enough.
The pass over a whole sequence does: XLA writes the `[b, n, l, l]` probabilities to memory, and cuDNN does not.
"""

from __future__ import annotations

import functools
import logging
from typing import Literal

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Bool, Float

from inspire_fast.models.layers import MASKED, attend

logger = logging.getLogger(__name__)

Implementation = Literal["xla", "cudnn"]
_TOLERANCE = 0.02  # of the norm: bfloat16 rounds at 2^-8, and the two sum in different orders


def attend_heads(
    q: Float[Array, "b m n h"],
    keys: Float[Array, "bg s h"],
    values: Float[Array, "bg s h"],
    mask: Bool[Array, "b m s"],
) -> Float[Array, "b m n h"]:
    """`layers.attend` over keys and values in the cache's layout, in products that need no transposed copy of either.

    Args:
        q: queries, already scaled.
        keys: the first axis is `b * g`, see `by_head`.
        values: as `keys`.
        mask: True where attended.
    """
    b, m, n, h = q.shape
    g = len(keys) // b
    # Query heads n = (g, r): the r heads of all m tokens that share a key head become the rows of one product.
    grouped = q.reshape(b, m, g, n // g, h).swapaxes(1, 2).reshape(b * g, -1, h)
    scores = jnp.einsum("rqh,rsh->rqs", grouped, keys, preferred_element_type=jnp.float32)
    seen = jnp.broadcast_to(mask[:, None, :, None], (b, g, m, n // g, mask.shape[2])).reshape(scores.shape)
    weights = jax.nn.softmax(jnp.where(seen, scores, MASKED), axis=-1).astype(q.dtype)
    attended = jnp.einsum("rqs,rsh->rqh", weights, values)
    return attended.reshape(b, g, m, n // g, h).swapaxes(1, 2).reshape(b, m, n, h)


def by_head(x: Float[Array, "b m g h"]) -> Float[Array, "bg m h"]:
    """Keys or values in the cache's layout, a row's heads next to each other on the first axis."""
    return x.swapaxes(1, 2).reshape(-1, x.shape[1], x.shape[3])


def fused(
    q: Float[Array, "b l n h"],
    k: Float[Array, "b s g h"],
    v: Float[Array, "b s g h"],
    mask: Bool[Array, "b l s"],
    *,
    implementation: Implementation,
) -> Float[Array, "b l n h"]:
    """`layers.attend` as one call of JAX's interface to fused kernels."""
    return jax.nn.dot_product_attention(q, k, v, mask=mask[:, None], scale=1.0, implementation=implementation)


def relative_difference(x: Float[Array, "*d"], reference: Float[Array, "*d"]) -> float:
    """Norm of the difference over the norm of the reference; averages of many values are small numbers themselves."""
    exact = reference.astype(jnp.float32)
    return float(jnp.linalg.norm(x.astype(jnp.float32) - exact) / jnp.linalg.norm(exact))


@functools.lru_cache
def implementation_for(head_dim: int, dtype: jnp.dtype) -> Implementation:
    """The fastest kernel that this process's device has for heads of this width, found by trying.

    cuDNN takes 16-bit floats only, and the widest head depends on its version and on the GPU. So cuDNN runs on a small
    input and is compared with XLA; where it refuses or differs, the reason is logged and XLA is taken.
    """
    if jax.default_backend() != "gpu" or dtype.itemsize != 2:
        return "xla"
    keys = jax.random.split(jax.random.key(0), 3)
    q, k, v = (
        jax.random.normal(key, (1, 128, heads, head_dim), dtype) for key, heads in zip(keys, (8, 1, 1), strict=True)
    )
    q, mask = q * head_dim**-0.5, jnp.tril(jnp.ones((1, 128, 128), bool))
    try:
        difference = relative_difference(fused(q, k, v, mask, implementation="cudnn"), attend(q, k, v, mask))
    except Exception as error:  # of cuDNN, driver or compiler: all mean that this build cannot
        logger.info("No cuDNN attention for heads of %d (%s); XLA computes it.", head_dim, str(error)[:200])
        return "xla"
    if not difference < _TOLERANCE:
        logger.warning(
            "cuDNN attention differs from XLA's by %.3g of its norm for heads of %d; XLA computes it.",
            difference,
            head_dim,
        )
        return "xla"
    return "cudnn"
