"""Which kernel computes attention: XLA's everywhere, cuDNN's flash attention on GPUs that have it for the head width.

Attention over a cache reads a few queries against many keys and is bound by reading them; it needs no kernel of its own. What
gains is the pass over a whole sequence, where XLA writes the `[b, n, l, l]` probabilities to memory and cuDNN does not.
"""

from __future__ import annotations

import functools
import logging
from typing import Literal

import jax
import jax.numpy as jnp

from inspire_fast.models.layers import MASKED, attend

logger = logging.getLogger(__name__)

Implementation = Literal["xla", "cudnn"]
_TOLERANCE = 0.03  # bfloat16 rounds at 2^-8, and the two sum in other orders


def attend_heads(q: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array) -> jax.Array:
    """`layers.attend` over keys and values as a cache holds them, in products that need no transposed copy of either.

    `q [b, m, n, h]` over `keys`, `values` `[b * g, s, h]` -> `[b, m, n, h]`; `mask` bool `[b, m, s]`.
    """
    b, m, n, h = q.shape
    g = len(keys) // b
    grouped = q.reshape(b, m, g, n // g, h).swapaxes(1, 2).reshape(b * g, -1, h)
    scores = jnp.einsum("rqh,rsh->rqs", grouped, keys, preferred_element_type=jnp.float32)
    seen = jnp.broadcast_to(mask[:, None, :, None], (b, g, m, n // g, mask.shape[2])).reshape(scores.shape)
    weights = jax.nn.softmax(jnp.where(seen, scores, MASKED), axis=-1).astype(q.dtype)
    attended = jnp.einsum("rqs,rsh->rqh", weights, values)
    return attended.reshape(b, g, m, n // g, h).swapaxes(1, 2).reshape(b, m, n, h)


def by_head(x: jax.Array) -> jax.Array:
    """Keys or values `[b, m, g, h]` as a cache holds them, `[b * g, m, h]`."""
    return x.swapaxes(1, 2).reshape(-1, x.shape[1], x.shape[3])


def fused(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, *, implementation: Implementation) -> jax.Array:
    """`layers.attend` through JAX's own interface: `q` is scaled already, the mask holds for all heads."""
    return jax.nn.dot_product_attention(q, k, v, mask=mask[:, None], scale=1.0, implementation=implementation)


@functools.lru_cache
def implementation_for(head_dim: int, dtype: jnp.dtype) -> Implementation:
    """The fastest kernel that this process's device has for heads of this width. Tried out, not looked up in a table.

    cuDNN takes 16-bit floats only, and how wide a head may be depends on its version and on the GPU. So it is run on a
    small input and compared with XLA; where it refuses or differs, the reason is logged and XLA is taken.
    """
    if jax.default_backend() != "gpu" or dtype.itemsize != 2:
        return "xla"
    keys = jax.random.split(jax.random.key(0), 3)
    q, k, v = (
        jax.random.normal(key, (1, 128, heads, head_dim), dtype) for key, heads in zip(keys, (8, 1, 1), strict=True)
    )
    q, mask = q * head_dim**-0.5, jnp.tril(jnp.ones((1, 128, 128), bool))
    try:
        apart = jnp.abs(fused(q, k, v, mask, implementation="cudnn") - attend(q, k, v, mask)).max()
    except Exception as error:  # whatever this build's cuDNN, driver or compiler says: it cannot
        logger.info("No cuDNN attention for heads of %d (%s); XLA computes it.", head_dim, str(error)[:200])
        return "xla"
    if not apart < _TOLERANCE:
        logger.warning("cuDNN attention differs from XLA's by %.3g for heads of %d; XLA computes it.", apart, head_dim)
        return "xla"
    return "cudnn"
