"""Laying a trained network out for decoding: `serve`. What it makes is in `models/inference/model.py`."""

from __future__ import annotations

from dataclasses import replace
import math
from typing import Literal

from flax import nnx
import jax
import jax.numpy as jnp

from inspire_fast.models.config import DType
from inspire_fast.models.inference.kernels import implementation_for
from inspire_fast.models.inference.merge_lora import merge_lora
from inspire_fast.models.inference.model import Matrix, ServedLayer, ServedModel
from inspire_fast.models.pi0_fast import Pi0Fast

Weights = Literal["float32", "bfloat16", "int8"]


def serve(
    model: Pi0Fast, *, weights: Weights | None = None, dtype: DType | None = None, consume: bool = False
) -> ServedModel:
    """The network laid out for decoding.

    Args:
        model: the trained network; low-rank updates are merged.
        weights: what the language model's matrices and the embedding are held in. `int8` has one scale per output channel
            (symmetric, the largest value at 127); the vision tower, whose cost is arithmetic, is then held in `dtype`. None
            keeps what the parameters have.
        dtype: of activations. None is the network's own on an accelerator and float32 on a CPU, whose bfloat16 products
            are slower.
        consume: free each parameter of `model` as soon as it has been laid out; the model cannot be used afterwards.
    """
    dtype = dtype or ("float32" if jax.default_backend() == "cpu" else model.config.dtype)
    model = merge_lora(model) if model.config.language.has_lora else model
    held = None if weights is None else jnp.dtype(weights)
    vision_dtype = held if weights != "int8" else jnp.dtype(dtype)
    graph, state = nnx.split(model.vision)
    vision = nnx.merge(graph, jax.tree.map(lambda p: p if vision_dtype is None else p.astype(vision_dtype), state))
    config, source = model.config.language, model.language
    take = _Taker(source.layers, config.depth, held, consume=consume)
    if config.kv_heads == config.heads:
        qkv = take.matrices("cnwh->cnhw", "qkv")
    else:
        qkv = take.matrices("nwh->nhw", "q", "kv")
    out, gate_up, down = (
        take.matrices("nhw->wnh", "out"),
        take.matrices("cwf->cfw", "gate_up"),
        take.matrices("fw->wf", "down"),
    )
    layers = tuple(
        ServedLayer(
            norm_attention=source.layers.norm_attention[...][d].astype(jnp.float32),
            qkv=qkv[d],
            out=out[d],
            norm_mlp=source.layers.norm_mlp[...][d].astype(jnp.float32),
            gate_up=gate_up[d],
            down=down[d],
        )
        for d in range(config.depth)
    )
    embedding = _held(source.embedding[...], held)
    if consume and embedding.values is not source.embedding[...]:
        source.embedding[...].delete()
    return ServedModel(
        config=replace(model.config, language=config.without_lora()),
        dtype=dtype,
        attention=implementation_for(config.head_dim, jnp.dtype(dtype)),
        vision=vision,
        embedding=embedding,
        layers=layers,
        final_norm=source.final_norm[...].astype(jnp.float32),
    )


class _Taker:
    """Takes stacked weights apart, layer by layer."""

    def __init__(self, layers: nnx.Module, depth: int, held: jnp.dtype | None, *, consume: bool) -> None:
        self._layers, self._depth, self._held, self._consume = layers, depth, held, consume

    def matrices(self, axes: str, *names: str) -> list[Matrix]:
        """Per layer one matrix `[o, i]` of the named weights, rows one below the other.

        `axes` is the weight's own order and, behind the arrow, outputs first or inputs first as a matrix has them; a second
        weight has one more axis in front (`kv` beside `q`). The contracted axes are those of the residual stream or the
        feed-forward, whichever the first weight ends in.
        """
        stacks = [getattr(self._layers, name)[...] for name in names]
        inputs = 2 if axes.endswith("wnh") else 1
        made = [_matrix(tuple(s[d] for s in stacks), axes, inputs, self._held) for d in range(self._depth)]
        if self._consume:
            jax.block_until_ready(made)
            for stack in stacks:
                stack.delete()
        return made


@jax.jit(static_argnames=("axes", "inputs", "held"))
def _matrix(weights: tuple[jax.Array, ...], axes: str, inputs: int, held: jnp.dtype | None) -> Matrix:
    parts = []
    for number, weight in enumerate(weights):
        own, wanted = axes.split("->")
        moved = jnp.einsum(f"{own}->{wanted}" if number == 0 else f"c{own}->c{wanted}", weight)
        parts.append(moved.reshape(-1, math.prod(moved.shape[-inputs:])))
    return _held(jnp.concatenate(parts), held)


def _held(weight: jax.Array, held: jnp.dtype | None) -> Matrix:
    """`[o, i]` in the dtype that it is held in."""
    if held != jnp.int8:
        return Matrix(values=weight if held is None else weight.astype(held))
    full = weight.astype(jnp.float32)
    scale = jnp.maximum(jnp.abs(full).max(axis=1) / 127.0, jnp.finfo(jnp.float32).tiny)
    return Matrix(values=jnp.round(full / scale[:, None]).astype(jnp.int8), scale=scale)
