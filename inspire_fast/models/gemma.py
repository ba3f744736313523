"""The Gemma language model: pre-norm blocks of attention (MHA, GQA or MQA) and GeGLU, tied embeddings, key/value cache.

The cache is indexed by *position*: the token at position `p` of a row lies in slot `p`, whatever was padded around it.
Writing past a row's length is harmless, since the next `extend` writes there first. So cached and teacher-forced passes see
the same positions and the same keys, and agree to numerical precision (openpi's decode is off by one position).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from inspire_fast.models.block import finish, project
from inspire_fast.models.config import GemmaConfig, Remat
from inspire_fast.models.layers import attend, rms_norm
from inspire_fast.models.lora import LoraLayers


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class KVCache:
    """Keys and values of what a row has read. `d` layers, `b` rows, `s` slots, `g` key/value heads, `h` head width.

    Attributes:
        k, v: `[d, b, s, g, h]`.
        valid: bool `[b, s]`: the slot may be attended to once its position has been read (False on masked cameras).
        length: int32 `[b]`: positions read so far.
    """

    k: jax.Array
    v: jax.Array
    valid: jax.Array
    length: jax.Array

    @property
    def capacity(self) -> int:
        return self.k.shape[2]


class GemmaLayers(nnx.Module):
    """All blocks, stacked on a leading layer axis `d`."""

    def __init__(self, config: GemmaConfig, rngs: nnx.Rngs) -> None:
        d, w, f = config.depth, config.width, config.mlp_dim
        n, g, h = config.heads, config.kv_heads, config.head_dim

        shapes: dict[str, tuple[int, ...]] = {}

        def weight(name: str, fan_in: int, *shape: int) -> nnx.Param:
            shapes[name] = (d, *shape)
            return nnx.Param(jax.random.normal(rngs.params(), (d, *shape)) * fan_in**-0.5)

        self.norm_attention = nnx.Param(jnp.zeros((d, w)))
        if g == n:
            self.qkv = weight("qkv", w, 3, n, w, h)
        else:
            self.q, self.kv = weight("q", w, n, w, h), weight("kv", w, 2, g, w, h)
        self.out = weight("out", n * h, n, h, w)
        self.norm_mlp = nnx.Param(jnp.zeros((d, w)))
        self.gate_up = weight("gate_up", w, 2, w, f)
        self.down = weight("down", f, f, w)
        if config.has_lora:
            self.lora = LoraLayers(config, shapes, rngs)

    def stacked(self) -> dict[str, Any]:
        """The weights as a nested dictionary, what `jax.lax.scan` runs through."""
        return nnx.to_pure_dict(nnx.state(self))


class Gemma(nnx.Module):
    """Embeds ids, runs the blocks, projects to logits."""

    def __init__(self, config: GemmaConfig, *, vocab_size: int, remat: Remat, rngs: nnx.Rngs) -> None:
        self.config = config
        self.remat = remat
        w = config.width
        self.embedding = nnx.Param(jax.random.normal(rngs.params(), (vocab_size, w)) * w**-0.5)
        self.layers = GemmaLayers(config, rngs)
        self.final_norm = nnx.Param(jnp.zeros(w))

    def embed(self, ids: jax.Array, dtype: jnp.dtype) -> jax.Array:
        """int `[b, l]` -> `[b, l, w]`, scaled by the root of the width."""
        return self.embedding[...].at[ids].get(mode="clip").astype(dtype) * jnp.asarray(self.config.width**0.5, dtype)

    def normed(self, x: jax.Array) -> jax.Array:
        """The final norm, in front of `logits`."""
        return rms_norm(x, self.final_norm[...], self.config.norm_eps)

    def logits(self, hidden: jax.Array, ids: jax.Array | None = None) -> jax.Array:
        """`[..., w]` -> float32 logits `[..., v]`, or `[..., k]` of the given ids `[k]` only (the rest is never computed)."""
        table = self.embedding[...] if ids is None else self.embedding[...][ids]
        return jnp.einsum("...w,vw->...v", hidden, table.astype(hidden.dtype), preferred_element_type=jnp.float32)

    def __call__(self, x: jax.Array, positions: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Full pass: `x [b, l, w]`, `positions [b, l]`, `mask [b, l, l]` -> final-normed hidden, keys, values per layer."""

        def block(x: jax.Array, layer: dict[str, Any]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            q, k, v = project(self.config, x, layer, positions)
            return finish(self.config, x, layer, attend(q, k, v, mask)), (k, v)

        if self.remat != "none":
            block = jax.checkpoint(block, policy=getattr(jax.checkpoint_policies, self.remat), prevent_cse=False)
        x, (k, v) = jax.lax.scan(block, x, self.layers.stacked())
        return self.normed(x), k, v

    def extend(
        self, x: jax.Array, cache: KVCache, attends_to: jax.Array, lengths: jax.Array
    ) -> tuple[jax.Array, KVCache]:
        """Reads further tokens.

        Args:
            x: embedded tokens `[b, m, w]`; row `i` has `lengths[i]` real ones, the rest is ignored.
            cache: what the rows have read.
            attends_to: int `[b, m]`, the last position that each token sees (its own position if causal).
            lengths: int `[b]`, 0..m.

        Returns:
            Final-normed hidden `[b, m, w]` (meaningless beyond `lengths`), and the cache with the tokens added.
        """
        positions = cache.length[:, None] + jnp.arange(x.shape[1])[None]
        rows = jnp.arange(x.shape[0])[:, None]
        mask = (jnp.arange(cache.capacity)[None, None] <= attends_to[:, :, None]) & cache.valid[:, None]

        def block(
            x: jax.Array, layer: tuple[dict[str, Any], jax.Array, jax.Array]
        ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            weights, keys, values = layer
            q, k, v = project(self.config, x, weights, positions)
            keys = keys.at[rows, positions].set(k, mode="drop")
            values = values.at[rows, positions].set(v, mode="drop")
            return finish(self.config, x, weights, attend(q, keys, values, mask)), (keys, values)

        layers = (self.layers.stacked(), cache.k, cache.v)
        x, (k, v) = jax.lax.scan(block, x, layers)
        grown = KVCache(k=k, v=v, valid=cache.valid, length=cache.length + lengths)
        return self.normed(x), grown
