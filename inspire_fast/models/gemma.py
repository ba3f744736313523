"""The Gemma language model: pre-norm blocks of attention (MHA, GQA or MQA) and GeGLU, tied embeddings.

This is the trainable form, which reads whole sequences. Cached decoding is `models/inference`.
"""

from __future__ import annotations

from typing import Any

from flax import nnx
import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from inspire_fast.models.block import finish, project
from inspire_fast.models.config import GemmaConfig, Remat
from inspire_fast.models.head import logits_of
from inspire_fast.models.layers import attend, rms_norm
from inspire_fast.models.lora import LoraLayers
from inspire_fast.models.placement import place
from inspire_fast.models.row_pieces import by_rows, pieces_of

MATRICES = frozenset({"q", "kv", "qkv", "out", "gate_up", "down"})  # of a layer, each read by one product


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
        """The weights as a nested dictionary; `jax.lax.scan` takes it apart layer by layer."""
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

    def embed(self, ids: Int[Array, "b l"], dtype: jnp.dtype) -> Float[Array, "b l w"]:
        """Embeddings of ids, scaled by the root of the width."""
        found = place(self.embedding[...].at[ids].get(mode="clip"), "looked_up_rows", None, "looked_up_width")
        return found.astype(dtype) * jnp.asarray(self.config.width**0.5, dtype)

    def normed(self, x: Float[Array, "... w"]) -> Float[Array, "... w"]:
        """The final norm, which comes before `logits`."""
        return rms_norm(x, self.final_norm[...], self.config.norm_eps)

    def logits(self, hidden: Float[Array, "... w"]) -> Float[Array, "... v"]:
        """float32 logits of the whole vocabulary."""
        return logits_of(hidden, self.embedding[...].astype(hidden.dtype))

    def __call__(
        self, x: Float[Array, "b l w"], positions: Int[Array, "b l"], mask: Bool[Array, "b l l"]
    ) -> Float[Array, "b l w"]:
        """Embedded tokens through all blocks and the final norm."""

        def rows(x: Array, layer: dict[str, Any], rest: tuple[Array, Array]) -> Array:
            q, k, v = project(self.config, x, layer, rest[0])
            return finish(self.config, x, layer, attend(q, k, v, rest[1]))

        count = pieces_of(*x.shape[:2]) if self.remat == "nothing_saveable" else 1

        def block(x: Array, layer: dict[str, Any]) -> tuple[Array, None]:
            if count == 1:
                return rows(x, layer, (positions, mask)), None
            read = {name: w.astype(x.dtype) if name in MATRICES else w for name, w in layer.items()}
            return by_rows(rows, count)(x, read, (positions, mask)), None

        if self.remat != "none":
            block = jax.checkpoint(block, policy=getattr(jax.checkpoint_policies, self.remat), prevent_cse=False)
        x, _ = jax.lax.scan(block, x, self.layers.stacked())  # one compiled block for all layers
        return self.normed(x)
