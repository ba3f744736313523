"""The Gemma language model: pre-norm blocks of attention (MHA, GQA or MQA) and GeGLU, tied embeddings, key/value cache.

The cache is indexed by *position*: the token at position `p` of a row lies in slot `p`, whatever was padded around it.
Writing past a row's length is harmless, since the next `extend` writes there first. So cached and teacher-forced passes see
the same positions and the same keys, and agree to numerical precision (openpi's decode is off by one position).
"""

from __future__ import annotations

from dataclasses import dataclass

from flax import nnx
import jax
import jax.numpy as jnp

from inspire_fast.models.config import GemmaConfig, Remat
from inspire_fast.models.layers import attend, rms_norm, rope


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

        def weight(fan_in: int, *shape: int) -> nnx.Param:
            return nnx.Param(jax.random.normal(rngs.params(), (d, *shape)) * fan_in**-0.5)

        self.norm_attention = nnx.Param(jnp.zeros((d, w)))
        if g == n:
            self.qkv = weight(w, 3, n, w, h)
        else:
            self.q, self.kv = weight(w, n, w, h), weight(w, 2, g, w, h)
        self.out = weight(n * h, n, h, w)
        self.norm_mlp = nnx.Param(jnp.zeros((d, w)))
        self.gate_up = weight(w, 2, w, f)
        self.down = weight(f, f, w)


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

    def logits(self, hidden: jax.Array, ids: jax.Array | None = None) -> jax.Array:
        """`[..., w]` -> float32 logits `[..., v]`, or `[..., k]` of the given ids `[k]` only (the rest is never computed)."""
        table = self.embedding[...] if ids is None else self.embedding[...][ids]
        return jnp.einsum("...w,vw->...v", hidden, table.astype(hidden.dtype), preferred_element_type=jnp.float32)

    def __call__(self, x: jax.Array, positions: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Full pass: `x [b, l, w]`, `positions [b, l]`, `mask [b, l, l]` -> final-normed hidden, keys, values per layer."""

        def block(x: jax.Array, layer: dict[str, jax.Array]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            q, k, v = self._qkv(x, layer, positions)
            return self._finish(x, layer, attend(q, k, v, mask)), (k, v)

        if self.remat != "none":
            block = jax.checkpoint(block, policy=getattr(jax.checkpoint_policies, self.remat), prevent_cse=False)
        x, (k, v) = jax.lax.scan(block, x, nnx.to_pure_dict(nnx.state(self.layers)))
        return rms_norm(x, self.final_norm[...]), k, v

    def extend(self, x: jax.Array, cache: KVCache, reach: jax.Array, lengths: jax.Array) -> tuple[jax.Array, KVCache]:
        """Reads further tokens.

        Args:
            x: embedded tokens `[b, m, w]`; row `i` has `lengths[i]` real ones, the rest is ignored.
            cache: what the rows have read.
            reach: int `[b, m]`, the last position that each token sees (its own position if causal).
            lengths: int `[b]`, 0..m.

        Returns:
            Final-normed hidden `[b, m, w]` (meaningless beyond `lengths`), and the cache with the tokens added.
        """
        positions = cache.length[:, None] + jnp.arange(x.shape[1])[None]
        rows = jnp.arange(x.shape[0])[:, None]
        mask = (jnp.arange(cache.capacity)[None, None] <= reach[:, :, None]) & cache.valid[:, None]

        def block(
            x: jax.Array, layer: tuple[dict[str, jax.Array], jax.Array, jax.Array]
        ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            weights, keys, values = layer
            q, k, v = self._qkv(x, weights, positions)
            keys = keys.at[rows, positions].set(k, mode="drop")
            values = values.at[rows, positions].set(v, mode="drop")
            return self._finish(x, weights, attend(q, keys, values, mask)), (keys, values)

        layers = (nnx.to_pure_dict(nnx.state(self.layers)), cache.k, cache.v)
        x, (k, v) = jax.lax.scan(block, x, layers)
        grown = KVCache(k=k, v=v, valid=cache.valid, length=cache.length + lengths)
        return rms_norm(x, self.final_norm[...]), grown

    def _qkv(
        self, x: jax.Array, layer: dict[str, jax.Array], positions: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        y = rms_norm(x, layer["norm_attention"])
        if "qkv" in layer:
            q, k, v = jnp.einsum("blw,cnwh->cblnh", y, layer["qkv"].astype(x.dtype))
        else:
            q = jnp.einsum("blw,nwh->blnh", y, layer["q"].astype(x.dtype))
            k, v = jnp.einsum("blw,cgwh->cblgh", y, layer["kv"].astype(x.dtype))
        return rope(q, positions) * self.config.head_dim**-0.5, rope(k, positions), v

    def _finish(self, x: jax.Array, layer: dict[str, jax.Array], attended: jax.Array) -> jax.Array:
        x = x + jnp.einsum("blnh,nhw->blw", attended, layer["out"].astype(x.dtype))
        y = rms_norm(x, layer["norm_mlp"])
        gate, up = jnp.einsum("blw,cwf->cblf", y, layer["gate_up"].astype(x.dtype))
        return x + (jax.nn.gelu(gate, approximate=True) * up) @ layer["down"].astype(x.dtype)
