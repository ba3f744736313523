"""One block of the language model as two pure functions of its weights: `project` before attention, `finish` after it.

The training pass, openpi's decoding and attention maps use them; `models/inference` has its own for merged matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Float, Int

from inspire_fast.models.config import GemmaConfig
from inspire_fast.models.layers import rms_norm, rope
from inspire_fast.models.lora import add_update
from inspire_fast.models.placement import place


def project(
    config: GemmaConfig, x: Float[Array, "b l w"], layer: Mapping[str, Any], positions: Int[Array, "b l"]
) -> tuple[Float[Array, "b l n h"], Float[Array, "b l g h"], Float[Array, "b l g h"]]:
    """Queries (rotated and scaled), keys (rotated) and values.

    Args:
        config: the architecture.
        x: the residual stream.
        layer: one layer of `GemmaLayers`, as a pure dictionary.
        positions: of each token in its row.
    """
    x = place(x, "batch")
    y = rms_norm(x, layer["norm_attention"], config.norm_eps)
    if "qkv" in layer:  # as many key/value heads as query heads: one weight, c = query, key, value
        q, k, v = add_update(jnp.einsum("blw,cnwh->cblnh", y, layer["qkv"].astype(x.dtype)), y, layer, "qkv", config)
    else:
        q = add_update(jnp.einsum("blw,nwh->blnh", y, layer["q"].astype(x.dtype)), y, layer, "q", config)
        k, v = add_update(jnp.einsum("blw,cgwh->cblgh", y, layer["kv"].astype(x.dtype)), y, layer, "kv", config)
    q, k, v = (place(heads, "batch", None, "heads") for heads in (q, k, v))
    return rope(q, positions) * config.head_dim**-0.5, rope(k, positions), v


def finish(
    config: GemmaConfig, x: Float[Array, "b l w"], layer: Mapping[str, Any], attended: Float[Array, "b l n h"]
) -> Float[Array, "b l w"]:
    """The residual stream after the block: attention's output projection, then the GeGLU feed-forward.

    Args:
        config: the architecture.
        x: the residual stream before the block.
        layer: one layer of `GemmaLayers`, as a pure dictionary.
        attended: values averaged by attention, head by head.
    """
    attended = place(attended, "batch", None, "heads")
    out = jnp.einsum("blnh,nhw->blw", attended, layer["out"].astype(x.dtype))
    x = place(x + add_update(out, attended, layer, "out", config), "batch")
    y = rms_norm(x, layer["norm_mlp"], config.norm_eps)
    # Two products: the gradient of one product with both would order all hidden units anew, twice.
    gate, up = (
        add_update(y @ layer["gate_up"][half].astype(x.dtype), y, layer, "gate_up", config, half=half)
        for half in (0, 1)
    )
    z = place(jax.nn.gelu(gate, approximate=True) * up, "batch", None, "hidden")
    return place(x + add_update(z @ layer["down"].astype(x.dtype), z, layer, "down", config), "batch")
