"""Our parameter paths <-> openpi's. Shapes are equal on both sides, so that the mapping is a table of names."""

from __future__ import annotations

from typing import Any

from flax import nnx
import jax

from inspire_fast.models.pi0_fast import Pi0Fast

_BLOCK = "PaliGemma/img/Transformer/encoderblock"
_ATTENTION = f"{_BLOCK}/MultiHeadDotProductAttention_0"
_LLM = "PaliGemma/llm/layers"
# Ours -> openpi's, where every weight has a bias: `<ours>` and `<ours>_bias`, `<theirs>/kernel` and `<theirs>/bias`.
_DENSE = {
    "vision/patch": "PaliGemma/img/embedding",
    "vision/layers/query": f"{_ATTENTION}/query",
    "vision/layers/key": f"{_ATTENTION}/key",
    "vision/layers/value": f"{_ATTENTION}/value",
    "vision/layers/out": f"{_ATTENTION}/out",
    "vision/layers/up": f"{_BLOCK}/MlpBlock_0/Dense_0",
    "vision/layers/down": f"{_BLOCK}/MlpBlock_0/Dense_1",
    "vision/head": "PaliGemma/img/head",
}
# Norms, likewise: `<ours>_scale` and `<ours>_bias`, `<theirs>/scale` and `<theirs>/bias`.
_NORMS = {
    "vision/layers/norm_attention": f"{_BLOCK}/LayerNorm_0",
    "vision/layers/norm_mlp": f"{_BLOCK}/LayerNorm_1",
    "vision/norm": "PaliGemma/img/Transformer/encoder_norm",
}
# Low-rank halves: `<ours>_a` and `<ours>_b`, `<theirs>lora_a` and `<theirs>lora_b`.
_HALVES = {
    "language/layers/lora/q": f"{_LLM}/attn/q_einsum/",
    "language/layers/lora/kv": f"{_LLM}/attn/kv_einsum/",
    "language/layers/lora/qkv": f"{_LLM}/attn/qkv_einsum/",
    "language/layers/lora/out": f"{_LLM}/attn/attn_vec_einsum/",
    "language/layers/lora/gate_up": f"{_LLM}/mlp/gating_einsum_",
    "language/layers/lora/down": f"{_LLM}/mlp/linear_",
}
TABLE: dict[str, str] = {
    **{f"{ours}": f"{theirs}/kernel" for ours, theirs in _DENSE.items()},
    **{f"{ours}_bias": f"{theirs}/bias" for ours, theirs in (_DENSE | _NORMS).items()},
    **{f"{ours}_scale": f"{theirs}/scale" for ours, theirs in _NORMS.items()},
    **{f"{ours}_{half}": f"{theirs}lora_{half}" for ours, theirs in _HALVES.items() for half in "ab"},
    "vision/position": "PaliGemma/img/pos_embedding",
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
