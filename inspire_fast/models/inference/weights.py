"""Weights laid out for decoding: matrices with the contracted axis last, in float32, bfloat16 or int8."""

from __future__ import annotations

from dataclasses import dataclass
import functools
import math
import os
import sys

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Float, Int, Num


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A linear map from `i` inputs to `o` outputs; int8 values are multiplied by one `scale` per output.

    A GPU can convert shorter values on their way into the product. XLA's CPU products take no mixed dtypes: a program
    converts all layers first and keeps the copies, so there shorter values cost memory and time (docs/decoding.md).
    """

    values: Num[Array, "o i"]
    scale: Float[Array, " o"] | None = None

    def __call__(self, x: Float[Array, "... i"]) -> Float[Array, "... o"]:
        """The product, in the dtype of `x`."""
        y = product(x, self.values.astype(x.dtype))
        return (y if self.scale is None else y * self.scale).astype(x.dtype)

    def rows(self, ids: Int[Array, " k"]) -> Matrix:
        """The map to some of the outputs."""
        return Matrix(values=self.values[ids], scale=None if self.scale is None else self.scale[ids])

    def dense(self, dtype: jnp.dtype) -> Float[Array, "o i"]:
        """Values and scales as one array."""
        return (self.values if self.scale is None else self.values * self.scale[:, None]).astype(dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class DecoderLayer:
    """One block of the language model. Scales of norms are float32, as exact as the parameters they come from.

    Attributes:
        norm_attention: scale of the norm before attention.
        qkv: outputs are the query heads, the key heads, the value heads.
        out: attention's output projection, inputs head by head.
        norm_mlp: scale of the norm before the feed-forward.
        gate_up: outputs are the gate's, then the up projection's.
        down: the feed-forward's output projection.
    """

    norm_attention: Float[Array, " w"]
    qkv: Matrix
    out: Matrix
    norm_mlp: Float[Array, " w"]
    gate_up: Matrix
    down: Matrix


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class LanguageWeights:
    """The whole language model, layer by layer.

    Attributes:
        embedding: of ids; also makes logits.
        layers: the blocks in order.
        final_norm: scale of the norm after the last block, float32.
    """

    embedding: Matrix
    layers: tuple[DecoderLayer, ...]
    final_norm: Float[Array, " w"]


def product(x: Float[Array, "... i"], matrix: Float[Array, "o i"]) -> Float[Array, "... o"]:
    """`x` times the transposed matrix, in float32 at least.

    XLA's CPU product of a matrix with a single vector runs on one core, and one core does not read memory as fast as
    all do. So there, it becomes a batch of products, each with a part of the matrix's rows, which run in parallel.
    """
    outputs, inputs = matrix.shape
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    parts = math.gcd(outputs, _parallel_parts()) if x.size == inputs else 1
    if parts == 1:
        return jax.lax.dot_general(x, matrix, (((x.ndim - 1,), (1,)), ((), ())), preferred_element_type=dtype)
    repeated = jnp.broadcast_to(x.reshape(-1), (parts, inputs))
    split = matrix.reshape(parts, -1, inputs)  # consecutive rows stay together: no copy
    y = jax.lax.dot_general(split, repeated, (((2,), (1,)), ((0,), (0,))), preferred_element_type=dtype)
    return y.reshape(*x.shape[:-1], outputs)


@functools.cache
def _parallel_parts() -> int:
    """Number of parts of a product with one vector: the cores of a CPU, rounded up to a power of two; 1 elsewhere."""
    cores = (len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()) or 1
    return 1 << (cores - 1).bit_length() if jax.default_backend() == "cpu" else 1
