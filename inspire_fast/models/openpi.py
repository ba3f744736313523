"""Our parameter paths <-> openpi's. Shapes are equal on both sides, so the mapping is a table of names and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax
import numpy as np

from inspire_fast.models.pi0_fast import Pi0Fast

_BLOCK = "PaliGemma/img/Transformer/encoderblock"
_ATTENTION = f"{_BLOCK}/MultiHeadDotProductAttention_0"
_LLM = "PaliGemma/llm/layers"

TABLE: dict[str, str] = {
    "vision/patch": "PaliGemma/img/embedding/kernel",
    "vision/patch_bias": "PaliGemma/img/embedding/bias",
    "vision/position": "PaliGemma/img/pos_embedding",
    "vision/layers/norm_attention_scale": f"{_BLOCK}/LayerNorm_0/scale",
    "vision/layers/norm_attention_bias": f"{_BLOCK}/LayerNorm_0/bias",
    "vision/layers/query": f"{_ATTENTION}/query/kernel",
    "vision/layers/query_bias": f"{_ATTENTION}/query/bias",
    "vision/layers/key": f"{_ATTENTION}/key/kernel",
    "vision/layers/key_bias": f"{_ATTENTION}/key/bias",
    "vision/layers/value": f"{_ATTENTION}/value/kernel",
    "vision/layers/value_bias": f"{_ATTENTION}/value/bias",
    "vision/layers/out": f"{_ATTENTION}/out/kernel",
    "vision/layers/out_bias": f"{_ATTENTION}/out/bias",
    "vision/layers/norm_mlp_scale": f"{_BLOCK}/LayerNorm_1/scale",
    "vision/layers/norm_mlp_bias": f"{_BLOCK}/LayerNorm_1/bias",
    "vision/layers/up": f"{_BLOCK}/MlpBlock_0/Dense_0/kernel",
    "vision/layers/up_bias": f"{_BLOCK}/MlpBlock_0/Dense_0/bias",
    "vision/layers/down": f"{_BLOCK}/MlpBlock_0/Dense_1/kernel",
    "vision/layers/down_bias": f"{_BLOCK}/MlpBlock_0/Dense_1/bias",
    "vision/norm_scale": "PaliGemma/img/Transformer/encoder_norm/scale",
    "vision/norm_bias": "PaliGemma/img/Transformer/encoder_norm/bias",
    "vision/head": "PaliGemma/img/head/kernel",
    "vision/head_bias": "PaliGemma/img/head/bias",
    "language/embedding": "PaliGemma/llm/embedder/input_embedding",
    "language/layers/norm_attention": f"{_LLM}/pre_attention_norm/scale",
    "language/layers/q": f"{_LLM}/attn/q_einsum/w",
    "language/layers/kv": f"{_LLM}/attn/kv_einsum/w",
    "language/layers/qkv": f"{_LLM}/attn/qkv_einsum/w",
    "language/layers/out": f"{_LLM}/attn/attn_vec_einsum/w",
    "language/layers/norm_mlp": f"{_LLM}/pre_ffw_norm/scale",
    "language/layers/gate_up": f"{_LLM}/mlp/gating_einsum",
    "language/layers/down": f"{_LLM}/mlp/linear",
    "language/final_norm": "PaliGemma/llm/final_norm/scale",
}


def flat_params(model: Pi0Fast) -> dict[str, nnx.Param]:
    """Our parameters by '/'-path."""
    flat: Any = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {"/".join(map(str, path)): value for path, value in flat}


def to_openpi(model: Pi0Fast) -> dict[str, jax.Array]:
    """The model's parameters under openpi's paths."""
    return {TABLE[path]: value.get_value() for path, value in flat_params(model).items()}


def load_openpi(model: Pi0Fast, params: Mapping[str, np.ndarray]) -> None:
    """Fills the model from parameters under openpi's paths (`/`-joined, without a trailing `value`).

    Raises:
        ValueError: lists every path that is missing, unknown, or of another shape.
    """
    ours = flat_params(model)
    wanted = {TABLE[path]: value.shape for path, value in ours.items()}
    problems = [f"missing: {p} {s}" for p, s in wanted.items() if p not in params]
    problems += [f"unknown: {p} {np.shape(v)}" for p, v in params.items() if p not in wanted]
    problems += [
        f"shape: {p} is {np.shape(params[p])}, the network has {s}"
        for p, s in wanted.items()
        if p in params and np.shape(params[p]) != s
    ]
    if problems:
        raise ValueError(
            "The checkpoint does not fit the network (another preset?):\n  " + "\n  ".join(sorted(problems))
        )
    for path, variable in ours.items():
        variable.set_value(jax.numpy.asarray(params[TABLE[path]], variable.dtype))
