"""The network laid out for decoding: the same function as `Pi0Fast`, whose weights are read once per token and nothing else.

A token costs what its weights take to be read. Three things in the trainable layout get in the way of that: layers stacked
on one axis are copied out of the stack, weights of more than two axes are transposed before they are multiplied, and float32
masters are twice as long as need be. Here every weight is a matrix of its own, the contracted axis last, in the dtype that it
is served in; LoRA is merged. Norms stay float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import functools
import math
import os
import sys

import jax
import jax.numpy as jnp

from inspire_fast.models.config import DType, ModelConfig
from inspire_fast.models.inference.kernels import Implementation, attend_heads, by_head, fused
from inspire_fast.models.layers import attention_mask, rms_norm, rope
from inspire_fast.models.siglip import Siglip


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A linear map `[o, i]`: values in float32, bfloat16 or int8, the latter times `scale` float32 `[o]`.

    A GPU converts shorter values on their way into the product. XLA's CPU products take no mixed dtypes and write a converted
    copy first: there, shorter values save memory and cost time (docs/decoding.md).
    """

    values: jax.Array
    scale: jax.Array | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        """`[..., i]` -> `[..., o]` in the dtype of `x`."""
        y = product(x, self.values.astype(x.dtype))
        return (y if self.scale is None else y * self.scale).astype(x.dtype)

    def rows(self, ids: jax.Array) -> Matrix:
        """Some of its rows, `[k, i]`."""
        return Matrix(values=self.values[ids], scale=None if self.scale is None else self.scale[ids])

    def dense(self, dtype: jnp.dtype) -> jax.Array:
        """`[o, i]` as one array."""
        return (self.values if self.scale is None else self.values * self.scale[:, None]).astype(dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class ServedLayer:
    """One block. Rows of `qkv` are the query heads, the key heads, the value heads; of `gate_up` the gate, then the rest."""

    norm_attention: jax.Array
    qkv: Matrix
    out: Matrix
    norm_mlp: jax.Array
    gate_up: Matrix
    down: Matrix


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class ServedCache:
    """Keys and values as `KVCache` has them, a pair of arrays per layer.

    Rows and heads share one axis: of a `[b, g, s, h]`, XLA's CPU compiler makes a second copy in this very shape for its products,
    and writes both, whole, for every token (a quarter of a step's time).

    Attributes:
        k, v: per layer `[b * g, s, h]`.
        valid: bool `[b, s]`, False on masked cameras.
        length: int32 `[b]`: positions read so far.
    """

    k: tuple[jax.Array, ...]
    v: tuple[jax.Array, ...]
    valid: jax.Array
    length: jax.Array


class ServedModel:
    """`Pi0Fast` for decoding; a pytree. Made by `serve`."""

    def __init__(
        self,
        *,
        config: ModelConfig,
        dtype: DType,
        attention: Implementation,
        vision: Siglip,
        embedding: Matrix,
        layers: tuple[ServedLayer, ...],
        final_norm: jax.Array,
    ) -> None:
        self.config = config
        self.dtype = jnp.dtype(dtype)
        self.attention: Implementation = attention
        self.vision = vision
        self.embedding = embedding
        self.layers = layers
        self.final_norm = final_norm

    def embed_images(self, images: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """uint8 (or float in [-1, 1]) `[b, h, w, 3]` per camera -> tokens `[b, t, w]` per camera; one call for all."""
        names = sorted(images)
        if not names:
            return {}
        for name in names:
            if images[name].shape[1:] != (*self.config.image_hw, 3):
                raise ValueError(
                    f"Image {name!r} is {images[name].shape}; the network sees [b, *{self.config.image_hw}, 3]."
                )
        stacked = jnp.concatenate([images[name] for name in names])
        if stacked.dtype == jnp.uint8:
            stacked = stacked.astype(jnp.float32) / 255.0 * 2.0 - 1.0
        tokens = jnp.split(self.vision(stacked, self.dtype), len(names))
        return dict(zip(names, tokens, strict=True))

    def prefill(
        self,
        image_tokens: Mapping[str, jax.Array],
        image_mask: Mapping[str, jax.Array],
        ids: jax.Array,
        lengths: jax.Array,
        block: jax.Array,
        capacity: int,
        wanted: jax.Array | None = None,
    ) -> tuple[jax.Array, ServedCache]:
        """See `Pi0Fast.prefill`; images come as `embed_images` made them, of every camera of the network.

        `wanted` int `[b, k]` are the places in the text whose hidden states `[b, k, w]` come back; None is all of it. The last
        layer is worked out for these alone.
        """
        if set(image_tokens) != set(self.config.cameras) or set(image_mask) != set(self.config.cameras):
            raise ValueError(
                f"The network sees {sorted(self.config.cameras)}; got images {sorted(image_tokens)} and masks "
                f"{sorted(image_mask)}."
            )
        if capacity < ids.shape[1]:
            raise ValueError(f"A cache for {capacity} text tokens cannot take a prompt padded to {ids.shape[1]}.")
        cameras, images = sorted(image_tokens), self.config.image_tokens
        x = jnp.concatenate([*(image_tokens[name] for name in cameras), self.embed(ids)], axis=1)
        shown = jnp.repeat(
            jnp.stack([image_mask[name] for name in cameras], axis=1), self.config.tokens_per_image, axis=1
        )
        valid = jnp.concatenate([shown, jnp.arange(ids.shape[1])[None] < lengths[:, None]], axis=1)
        blocks = jnp.concatenate([jnp.zeros(shown.shape, block.dtype), block], axis=1)
        wanted = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape) if wanted is None else wanted
        hidden, k, v = self._read(x, attention_mask(blocks, valid), wanted=images + wanted)
        room = [(0, 0), (0, capacity - ids.shape[1]), (0, 0)]
        cache = ServedCache(
            k=tuple(jnp.pad(one, room) for one in k),
            v=tuple(jnp.pad(one, room) for one in v),
            valid=jnp.concatenate([shown, jnp.ones((ids.shape[0], capacity), bool)], axis=1),
            length=images + lengths,
        )
        return hidden, cache

    def _read(
        self, x: jax.Array, mask: jax.Array, *, wanted: jax.Array
    ) -> tuple[jax.Array, list[jax.Array], list[jax.Array]]:
        """Hidden states of the wanted places, and every layer's keys and values `[b * g, s, h]`."""
        positions = jnp.broadcast_to(jnp.arange(x.shape[1])[None], x.shape[:2])
        all_k, all_v = [], []
        for layer in self.layers:
            q, k, v = self._project(x, layer, positions)
            all_k.append(by_head(k))
            all_v.append(by_head(v))
            if layer is self.layers[-1]:  # a few queries, for which attention is bound by reading keys
                x, q, mask = (pick(one, wanted) for one in (x, q, mask))
                attended = attend_heads(q, all_k[-1], all_v[-1], mask)
            elif self.attention == "cudnn":
                attended = fused(q, k, v, mask, implementation="cudnn")
            else:
                attended = attend_heads(q, all_k[-1], all_v[-1], mask)
            x = self._finish(x, layer, attended)
        return self._normed(x), all_k, all_v

    def extend(
        self,
        cache: ServedCache,
        ids: jax.Array,
        lengths: jax.Array,
        attends_to: jax.Array | None = None,
        wanted: jax.Array | None = None,
    ) -> tuple[jax.Array, ServedCache]:
        """See `Pi0Fast.extend`; `wanted` int `[b, k]` are places in the chunk, as in `prefill`."""
        x = self.embed(ids)
        positions = cache.length[:, None] + jnp.arange(ids.shape[1])[None]
        attends_to = positions if attends_to is None else attends_to
        slots = jnp.repeat(positions, self.config.language.kv_heads, axis=0)
        rows = jnp.arange(len(slots))[:, None]
        mask = (jnp.arange(cache.valid.shape[1])[None, None] <= attends_to[:, :, None]) & cache.valid[:, None]
        all_k, all_v = [], []
        for layer, old_k, old_v in zip(self.layers, cache.k, cache.v, strict=True):
            q, k, v = self._project(x, layer, positions)
            all_k.append(old_k.at[rows, slots].set(by_head(k), mode="drop", unique_indices=True))
            all_v.append(old_v.at[rows, slots].set(by_head(v), mode="drop", unique_indices=True))
            if wanted is not None and layer is self.layers[-1]:
                x, q, mask = (pick(one, wanted) for one in (x, q, mask))
            x = self._finish(x, layer, attend_heads(q, all_k[-1], all_v[-1], mask))
        grown = ServedCache(k=tuple(all_k), v=tuple(all_v), valid=cache.valid, length=cache.length + lengths)
        return self._normed(x), grown

    def embed(self, ids: jax.Array) -> jax.Array:
        """int `[b, l]` -> `[b, l, w]`."""
        width = self.config.language.width
        # A forced id of -1 (nothing) reads the first row; what comes of it is never used.
        rows = self.embedding.rows(jnp.maximum(ids, 0).reshape(-1)).dense(self.dtype)
        return rows.reshape(*ids.shape, width) * jnp.asarray(width**0.5, self.dtype)

    def head(self, ids: jax.Array) -> jax.Array:
        """`[..., k, w]`: the rows of the tied embedding that make logits of the given ids only."""
        return self.embedding.rows(ids.reshape(-1)).dense(self.dtype).reshape(*ids.shape, -1)

    def _normed(self, x: jax.Array) -> jax.Array:
        return rms_norm(x, self.final_norm, self.config.language.norm_eps)

    def _project(
        self, x: jax.Array, layer: ServedLayer, positions: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        config = self.config.language
        n, g, h = config.heads, config.kv_heads, config.head_dim
        y = layer.qkv(rms_norm(x, layer.norm_attention, config.norm_eps)).reshape(*x.shape[:2], n + 2 * g, h)
        q, k, v = jnp.split(y, [n, n + g], axis=2)
        return rope(q, positions) * h**-0.5, rope(k, positions), v

    def _finish(self, x: jax.Array, layer: ServedLayer, attended: jax.Array) -> jax.Array:
        x = x + layer.out(attended.reshape(*x.shape[:2], -1))
        gate, up = jnp.split(layer.gate_up(rms_norm(x, layer.norm_mlp, self.config.language.norm_eps)), 2, axis=-1)
        return x + layer.down(jax.nn.gelu(gate, approximate=True) * up)


_CHILDREN = ("vision", "embedding", "layers", "final_norm")
_STATIC = ("config", "dtype", "attention")


def _flatten(model: ServedModel) -> tuple[tuple[object, ...], tuple[object, ...]]:
    return tuple(getattr(model, name) for name in _CHILDREN), tuple(getattr(model, name) for name in _STATIC)


def _unflatten(static: tuple[object, ...], children: tuple[object, ...]) -> ServedModel:
    model = object.__new__(ServedModel)
    model.__dict__.update(zip(_CHILDREN, children, strict=True), **dict(zip(_STATIC, static, strict=True)))
    return model


jax.tree_util.register_pytree_node(ServedModel, _flatten, _unflatten)


def logits(hidden: jax.Array, head: jax.Array) -> jax.Array:
    """`[..., w]`, rows of `ServedModel.head` `[k, w]` -> float32 `[..., k]`."""
    return product(hidden, head)


def product(x: jax.Array, matrix: jax.Array) -> jax.Array:
    """`[..., i]`, `[o, i]` -> `[..., o]`, in float32 at least.

    XLA's CPU product of a matrix with one row runs on one core, and one core does not read memory as fast as all do. So
    there it is a batch of products, each with a part of the matrix's rows, which run side by side.
    """
    outputs, inputs = matrix.shape
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    parts = math.gcd(outputs, _spread()) if x.size == inputs else 1
    if parts == 1:
        return jax.lax.dot_general(x, matrix, (((x.ndim - 1,), (1,)), ((), ())), preferred_element_type=dtype)
    repeated = jnp.broadcast_to(x.reshape(-1), (parts, inputs))
    split = matrix.reshape(parts, -1, inputs)
    y = jax.lax.dot_general(split, repeated, (((2,), (1,)), ((0,), (0,))), preferred_element_type=dtype)
    return y.reshape(*x.shape[:-1], outputs)


@functools.cache
def _spread() -> int:
    """Into how many parts a product with one row is cut: the next power of two to the cores of a CPU."""
    cores = (len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()) or 1
    return 1 << (cores - 1).bit_length() if jax.default_backend() == "cpu" else 1


def pick(x: jax.Array, places: jax.Array) -> jax.Array:
    """`[b, m, ...]`, int `[b, k]` -> `[b, k, ...]`; places beyond either end are the end's."""
    index = jnp.clip(places, 0, x.shape[1] - 1).reshape(*places.shape, *(1,) * (x.ndim - 2))
    return jnp.take_along_axis(x, index, axis=1)
