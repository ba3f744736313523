"""One block of the language model as pure functions of one layer's weights: projections, and all that follows attention.

Training, cached decoding, openpi's decoding and attention maps are different ways through the same two functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from inspire_fast.models.config import GemmaConfig
from inspire_fast.models.layers import rms_norm, rope
from inspire_fast.models.lora import add_update


def project(
    config: GemmaConfig, x: jax.Array, layer: Mapping[str, Any], positions: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Queries (rotated and scaled) `[b, l, n, h]`, keys (rotated) and values `[b, l, g, h]` of `x [b, l, w]`.

    Args:
        config: the architecture.
        x: the residual stream.
        layer: one layer of `GemmaLayers`, as a pure dictionary.
        positions: int `[b, l]`.
    """
    y = rms_norm(x, layer["norm_attention"], config.norm_eps)
    if "qkv" in layer:
        q, k, v = add_update(jnp.einsum("blw,cnwh->cblnh", y, layer["qkv"].astype(x.dtype)), y, layer, "qkv", config)
    else:
        q = add_update(jnp.einsum("blw,nwh->blnh", y, layer["q"].astype(x.dtype)), y, layer, "q", config)
        k, v = add_update(jnp.einsum("blw,cgwh->cblgh", y, layer["kv"].astype(x.dtype)), y, layer, "kv", config)
    return rope(q, positions) * config.head_dim**-0.5, rope(k, positions), v


def finish(config: GemmaConfig, x: jax.Array, layer: Mapping[str, Any], attended: jax.Array) -> jax.Array:
    """The residual stream behind the block, from the stream before it and what attention made `[b, l, n, h]`."""
    out = jnp.einsum("blnh,nhw->blw", attended, layer["out"].astype(x.dtype))
    x = x + add_update(out, attended, layer, "out", config)
    y = rms_norm(x, layer["norm_mlp"], config.norm_eps)
    gate_up = jnp.einsum("blw,cwf->cblf", y, layer["gate_up"].astype(x.dtype))
    gate, up = add_update(gate_up, y, layer, "gate_up", config)
    z = jax.nn.gelu(gate, approximate=True) * up
    return x + add_update(z @ layer["down"].astype(x.dtype), z, layer, "down", config)
