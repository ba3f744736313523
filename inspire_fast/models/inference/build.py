"""Laying out a trained network for decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from flax import nnx
import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Float, Num

from inspire_fast.models.config import DType, GemmaConfig
from inspire_fast.models.gemma import GemmaLayers
from inspire_fast.models.inference.kernels import implementation_for
from inspire_fast.models.inference.merge_lora import merge_lora
from inspire_fast.models.inference.model import InferenceModel
from inspire_fast.models.inference.weights import DecoderLayer, LanguageWeights, Matrix
from inspire_fast.models.pi0_fast import Pi0Fast

Weights = Literal["float32", "bfloat16", "int8"]


def build(
    model: Pi0Fast, *, weights: Weights | None = None, dtype: DType | None = None, donate: bool = False
) -> InferenceModel:
    """The network laid out for decoding.

    Args:
        model: the trained network; low-rank updates are merged.
        weights: the dtype in which the language model's matrices and the embedding are stored. `int8` has one scale per
            output (symmetric, the largest value at 127); the vision tower, which is bound by arithmetic, is then stored
            in `dtype`. None keeps the parameters' own. On a CPU float32 needs the least memory and time, see `Matrix`.
        dtype: of activations. None is the network's own on an accelerator and float32 on a CPU, whose bfloat16 products
            are slower.
        donate: free each parameter of `model` as soon as it has been laid out; the model cannot be used afterwards.
    """
    activations = jnp.dtype(dtype or ("float32" if jax.default_backend() == "cpu" else model.config.dtype))
    model = merge_lora(model) if model.config.language.has_lora else model
    storage = None if weights is None else jnp.dtype(weights)
    config, source = model.config.language, model.language
    tower = activations if weights == "int8" else storage
    vision = model.vision if tower is None else jax.tree.map(lambda p: p.astype(tower), model.vision)
    layers = _layers(source.layers, config, storage, donate=donate)
    final_norm = source.final_norm[...].astype(jnp.float32)
    embedding = _stored(source.embedding[...], storage)
    if donate and embedding.values is not source.embedding[...]:
        source.embedding[...].delete()
    return InferenceModel(
        config=replace(model.config, language=config.without_lora()),
        dtype=activations,
        attention=implementation_for(config.head_dim, activations),
        vision=vision,
        language=LanguageWeights(embedding=embedding, layers=layers, final_norm=final_norm),
    )


def _layers(
    layers: GemmaLayers, config: GemmaConfig, storage: jnp.dtype | None, *, donate: bool
) -> tuple[DecoderLayer, ...]:
    """The stacked blocks taken apart."""

    def matrices(lay_out: Callable[[Array], Array], *stacks: nnx.Param) -> list[Matrix]:
        """One matrix per layer; of several stacks, the outputs of the first come first."""
        arrays = [stack[...] for stack in stacks]
        made = [_matrix(tuple(a[d] for a in arrays), lay_out, storage) for d in range(config.depth)]
        if donate:
            jax.block_until_ready(made)
            for array in arrays:
                array.delete()
        return made

    if config.kv_heads == config.heads:
        qkv = matrices(_inputs_before_last, layers.qkv)
    else:
        qkv = matrices(_inputs_before_last, layers.q, layers.kv)
    out = matrices(_inputs_first, layers.out)
    gate_up = matrices(_inputs_before_last, layers.gate_up)
    down = matrices(_inputs_first, layers.down)
    return tuple(
        DecoderLayer(
            norm_attention=layers.norm_attention[...][d].astype(jnp.float32),
            qkv=qkv[d],
            out=out[d],
            norm_mlp=layers.norm_mlp[...][d].astype(jnp.float32),
            gate_up=gate_up[d],
            down=down[d],
        )
        for d in range(config.depth)
    )


def _inputs_before_last(weight: Float[Array, "*parts i o"]) -> Float[Array, "all_o i"]:
    """Of `q [n, w, h]`, `kv [2, g, w, h]`, `qkv [3, n, w, h]`, `gate_up [2, w, f]`: the outputs part by part."""
    return weight.swapaxes(-1, -2).reshape(-1, weight.shape[-2])


def _inputs_first(weight: Float[Array, "*i o"]) -> Float[Array, "o all_i"]:
    """Of `out [n, h, w]`, `down [f, w]`: all axes but the last are contracted."""
    return weight.reshape(-1, weight.shape[-1]).T


@jax.jit(static_argnames=("lay_out", "storage"))
def _matrix(weights: tuple[Array, ...], lay_out: Callable[[Array], Array], storage: jnp.dtype | None) -> Matrix:
    return _stored(jnp.concatenate([lay_out(weight) for weight in weights]), storage)


def _stored(weight: Num[Array, "o i"], storage: jnp.dtype | None) -> Matrix:
    """The weight in the dtype that it is stored in."""
    if storage != jnp.int8:
        return Matrix(values=weight if storage is None else weight.astype(storage))
    full = weight.astype(jnp.float32)
    # At least the smallest normal number: a row of zeros must not be divided by 0.
    scale = jnp.maximum(jnp.abs(full).max(axis=1) / 127.0, jnp.finfo(jnp.float32).tiny)
    return Matrix(values=jnp.round(full / scale[:, None]).astype(jnp.int8), scale=scale)
