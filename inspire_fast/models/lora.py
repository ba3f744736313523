"""Low-rank updates of the language model's weights (LoRA), under openpi's parameter shapes.

A weight `[..., i, o]` has a half A `[..., i, p]` and a half B `[..., p, o]` of rank `p`. Attention's output weight
`[n, h, w]` is the exception, as in openpi: A contracts heads and head width together, and the `n` parts of B are
summed, so that the update of the whole `[n h, w]` matrix has rank `p`.

A fresh B is zero, so that a fresh LoRA network equals its base (Hu et al. 2021, "LoRA"). openpi draws both halves from
normal(0, 0.01); A keeps that scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flax import nnx
import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Float

from inspire_fast.models.config import GemmaConfig, LoraConfig

A_STD = 0.01


@dataclass(frozen=True, kw_only=True)
class Route:
    """Einsums of an update: with each of its halves, and of both halves into one weight."""

    down: str
    up: str
    merged: str


ATTENTION: dict[str, Route] = {
    "q": Route(down="blw,nwp->blnp", up="blnp,nph->blnh", merged="nwp,nph->nwh"),
    "kv": Route(down="blw,cgwp->cblgp", up="cblgp,cgph->cblgh", merged="cgwp,cgph->cgwh"),
    "qkv": Route(down="blw,cnwp->cblnp", up="cblnp,cnph->cblnh", merged="cnwp,cnph->cnwh"),
    "out": Route(down="blnh,nhp->blp", up="blp,npw->blw", merged="nhp,mpw->nhw"),
}
MLP: dict[str, Route] = {
    "gate_up": Route(down="blw,cwp->cblp", up="cblp,cpf->cblf", merged="cwp,cpf->cwf"),  # c = gate, up
    "down": Route(down="blf,fp->blp", up="blp,pw->blw", merged="fp,pw->fw"),
}
ROUTES = ATTENTION | MLP


def update_of(config: GemmaConfig, weight: str) -> LoraConfig | None:
    """The low-rank update of a weight of `GemmaLayers`, if it has one."""
    return config.lora_attention if weight in ATTENTION else config.lora_mlp if weight in MLP else None


class LoraLayers(nnx.Module):
    """The halves `<weight>_a`, `<weight>_b` of all blocks, stacked on a leading layer axis `d`."""

    def __init__(self, config: GemmaConfig, shapes: Mapping[str, tuple[int, ...]], rngs: nnx.Rngs) -> None:
        for weight, shape in shapes.items():
            update = update_of(config, weight)
            if update is not None:
                a, b = (*shape[:-1], update.rank), (*shape[:-2], update.rank, shape[-1])
                setattr(self, f"{weight}_a", nnx.Param(jax.random.normal(rngs.params(), a) * A_STD))
                setattr(self, f"{weight}_b", nnx.Param(jnp.zeros(b)))


def add_update(
    base: Float[Array, "*out"],
    x: Float[Array, "*inner"],
    layer: Mapping[str, Any],
    weight: str,
    config: GemmaConfig,
    *,
    half: int | None = None,
) -> Float[Array, "*out"]:
    """`base`, the product of `x` and a weight, plus that of `x` and the weight's low-rank update, if it has one.

    `half` 0 or 1 is the gate or the up projection of `gate_up`.
    """
    update = update_of(config, weight)
    if update is None:
        return base
    route = ROUTES[weight] if half is None else ROUTES["down"]
    a, b = (layer["lora"][f"{weight}_{side}"] for side in "ab")
    a, b = (a, b) if half is None else (a[half], b[half])
    inner = jnp.einsum(route.down, x, a.astype(x.dtype))
    return base + jnp.einsum(route.up, inner, b.astype(x.dtype)) * update.scale


@jax.jit(static_argnames=("route", "scale"))
def merged_weight(
    w: Float[Array, " d *shape"], a: Float[Array, "d ..."], b: Float[Array, "d ..."], *, route: Route, scale: float
) -> Float[Array, " d *shape"]:
    """Weight and update as one weight, in the weight's own dtype; layer by layer, so that no second stack is made."""

    def merge(layer: tuple[Array, Array, Array]) -> Array:
        w, a, b = (half.astype(jnp.float32) for half in layer)
        # Highest: accelerators otherwise round the factors of a float32 product.
        return (w + scale * jnp.einsum(route.merged, a, b, precision=jax.lax.Precision.HIGHEST)).astype(layer[0].dtype)

    return jax.lax.map(merge, (w, a, b))
