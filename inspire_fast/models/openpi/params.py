"""Our parameter paths <-> openpi's. Shapes are equal on both sides, so that the mapping is a table of names."""

from __future__ import annotations

from typing import Any

from flax import nnx
import jax

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
    "language/layers/lora/q_a": f"{_LLM}/attn/q_einsum/lora_a",
    "language/layers/lora/q_b": f"{_LLM}/attn/q_einsum/lora_b",
    "language/layers/lora/kv_a": f"{_LLM}/attn/kv_einsum/lora_a",
    "language/layers/lora/kv_b": f"{_LLM}/attn/kv_einsum/lora_b",
    "language/layers/lora/qkv_a": f"{_LLM}/attn/qkv_einsum/lora_a",
    "language/layers/lora/qkv_b": f"{_LLM}/attn/qkv_einsum/lora_b",
    "language/layers/lora/out_a": f"{_LLM}/attn/attn_vec_einsum/lora_a",
    "language/layers/lora/out_b": f"{_LLM}/attn/attn_vec_einsum/lora_b",
    "language/layers/lora/gate_up_a": f"{_LLM}/mlp/gating_einsum_lora_a",
    "language/layers/lora/gate_up_b": f"{_LLM}/mlp/gating_einsum_lora_b",
    "language/layers/lora/down_a": f"{_LLM}/mlp/linear_lora_a",
    "language/layers/lora/down_b": f"{_LLM}/mlp/linear_lora_b",
    "language/final_norm": "PaliGemma/llm/final_norm/scale",
}


def flat_params(model: Pi0Fast) -> dict[str, nnx.Param]:
    """Our parameters by '/'-path."""
    flat: Any = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {"/".join(map(str, path)): value for path, value in flat}


def to_openpi(model: Pi0Fast) -> dict[str, jax.Array]:
    """The model's parameters under openpi's paths."""
    return {TABLE[path]: value.get_value() for path, value in flat_params(model).items()}
