"""Our parameter paths <-> openpi's. Shapes are equal on both sides, so the mapping is a table of names and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
import zlib

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.models.lora import A_STD
from inspire_fast.models.pi0_fast import Pi0Fast

MissingLora = Literal["refuse", "init"]

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


def load_openpi(
    model: Pi0Fast,
    params: Mapping[str, np.ndarray | jax.Array],
    *,
    missing_lora: MissingLora = "refuse",
    keep_dtype: bool = False,
) -> None:
    """Fills the model from parameters under openpi's paths (`/`-joined, without a trailing `value`).

    Args:
        model: may be abstract (`nnx.eval_shape`), so that nothing is allocated before the parameters come.
        params: JAX arrays are taken as they are placed; NumPy arrays are put on the default device one by one.
        missing_lora: "init" lets a LoRA network start from a full checkpoint, which has no low-rank halves: they keep the
            model's values, or are drawn where the model is abstract. The result computes what the checkpoint did, since a
            fresh B is zero. "refuse" lists them as missing.
        keep_dtype: take the arrays' own dtype. bfloat16 parameters then stay bfloat16, and JAX arrays are neither copied
            nor cast: the model holds the very buffers. Otherwise parameters become float32.

    Raises:
        ValueError: lists every path that is missing, unknown, of another shape, not of a floating dtype or not finite.
            The model is unchanged.
    """
    ours = flat_params(model)
    fresh = _fresh_lora(ours, params) if missing_lora == "init" else {}
    _require_fit({TABLE[path]: value.shape for path, value in ours.items() if path not in fresh}, params)
    for path, variable in ours.items():
        if path in fresh:
            variable.set_value(fresh[path])
        else:
            value = params[TABLE[path]]
            variable.set_value(jnp.asarray(value, None if keep_dtype else jnp.float32))


def _fresh_lora(ours: Mapping[str, nnx.Param], params: Mapping[str, np.ndarray | jax.Array]) -> dict[str, jax.Array]:
    """The low-rank halves by our path, as the model holds them or newly drawn; none if the parameters bring any."""
    lora = [path for path in ours if "/lora/" in path]
    if any(TABLE[path] in params for path in lora):
        return {}
    halves = {}
    for path in lora:
        value = ours[path].get_value()
        if isinstance(value, jax.ShapeDtypeStruct):
            random = np.random.default_rng(zlib.crc32(path.encode())).normal(scale=A_STD, size=value.shape)
            value = jnp.asarray(random * path.endswith("_a"), jnp.float32)
        halves[path] = value
    return halves


def _require_fit(wanted: Mapping[str, tuple[int, ...]], params: Mapping[str, np.ndarray | jax.Array]) -> None:
    problems = [f"missing: {p} {s}" for p, s in wanted.items() if p not in params]
    problems += [f"unknown: {p} {np.shape(v)}" for p, v in params.items() if p not in wanted]
    for path, shape in wanted.items():
        if path in params:
            value = params[path]
            if np.shape(value) != shape:
                problems.append(f"shape: {path} is {np.shape(value)}, the network has {shape}")
            elif not jnp.issubdtype(value.dtype, jnp.floating):
                problems.append(f"dtype: {path} is {value.dtype}, expected floating point")
            elif not _is_finite(value):
                problems.append(f"not finite: {path} holds NaN or infinity")
    if problems:
        lora = any("lora" in problem for problem in problems)
        advice = (
            " Low-rank halves: choose a preset with or without LoRA, `missing_lora`, or merge them." if lora else ""
        )
        raise ValueError(
            f"The checkpoint does not fit the network (another preset, or damaged?).{advice}\n  "
            + "\n  ".join(sorted(problems))
        )


def _is_finite(value: np.ndarray | jax.Array) -> bool:
    """Whether all entries are finite: one NaN or infinity shows in the sum, which needs no second array."""
    if isinstance(value, jax.Array) and any(device.platform != "cpu" for device in value.devices()):
        return bool(jnp.isfinite(_sum(value)))
    with np.errstate(invalid="ignore"):  # on the CPU, NumPy sees the same memory, and has nothing to compile
        return bool(np.isfinite(np.asarray(value).sum(dtype=np.float64)))


_sum = jax.jit(lambda x: jnp.sum(x, dtype=jnp.float32))
