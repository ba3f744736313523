"""Low-rank updates: fresh ones change nothing, merged ones are the weights they were, scales are what they say."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.models.config import PRESETS, LoraConfig, ModelConfig
from inspire_fast.models.inference.merge_lora import merge_lora
from inspire_fast.models.openpi.params import TABLE, flat_params, load_openpi, to_openpi
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.testing import quick_jit, random_images, random_model

TEST = PRESETS["test"]
ATTENTION, MLP = LoraConfig(rank=2, alpha=6.0), LoraConfig(rank=3, alpha=5.0)


def config(attention: LoraConfig | None = ATTENTION, mlp: LoraConfig | None = MLP, kv_heads: int = 2) -> ModelConfig:
    return replace(TEST, language=replace(TEST.language, lora_attention=attention, lora_mlp=mlp, kv_heads=kv_heads))


@lru_cache
def inputs() -> tuple:
    images = random_images(TEST, 2)
    shown = {"base_0_rgb": np.array([True, False]), "left_wrist_0_rgb": np.array([True, True])}
    ids = np.random.default_rng(0).integers(0, TEST.vocab_size, (2, 6)).astype(np.int32)
    block = np.array([[0, 0, 1, 2, 3, 4], [0, 1, 2, 2, 3, 4]], np.int32)
    return images, shown, ids, np.ones((2, 6), bool), block


@quick_jit
def compiled(model: Pi0Fast, *arguments: object) -> jax.Array:
    return model.logits(model(*arguments))


def logits(model: Pi0Fast) -> np.ndarray:
    return np.asarray(compiled(model, *inputs()))


def numpy_params(model: Pi0Fast) -> dict[str, np.ndarray]:
    return {path: np.asarray(array) for path, array in to_openpi(model).items()}


def with_arrays(c: ModelConfig, arrays: Mapping[str, np.ndarray | jax.Array]) -> Pi0Fast:
    """A network of another architecture around the arrays of one with the same leaves."""
    model = nnx.eval_shape(lambda: Pi0Fast(c, rngs=nnx.Rngs(0)))
    load_openpi(model, arrays, keep_dtype=True)
    return model


@pytest.mark.parametrize("c", [config(kv_heads=1), config(mlp=None, kv_heads=4), config(attention=None)])
def test_merged_is_unmerged(c: ModelConfig) -> None:
    model = random_model(c)
    base = {path: array for path, array in to_openpi(model).items() if "lora" not in path}
    merged = merge_lora(model)
    assert not merged.config.language.has_lora
    np.testing.assert_allclose(logits(merged), logits(model), atol=2e-5)
    changed = {p for p, a in to_openpi(merged).items() if not np.array_equal(a, base[p])}
    updated = {TABLE[p.replace("/lora", "").removesuffix("_a")] for p in flat_params(model) if p.endswith("_a")}
    assert changed == updated


@pytest.mark.parametrize("stabilised", [False, True])
def test_scales_act_where_they_should(stabilised: bool) -> None:
    """A scale is the same as a larger B; without a scale, as a B of its own; each on its own group."""
    attention = replace(ATTENTION, rank_stabilised=stabilised)
    scaled = random_model(config(attention, replace(MLP, unscaled=True)))
    arrays = numpy_params(scaled)
    by_hand = 6.0 / (2**0.5 if stabilised else 2)
    assert attention.scale == pytest.approx(by_hand)
    factors = {path: by_hand if path.endswith("lora_b") and "attn" in path else 1.0 for path in arrays}
    arrays = {path: (array * factors[path]).astype(np.float32) for path, array in arrays.items()}
    plain = with_arrays(config(replace(ATTENTION, alpha=2.0), replace(MLP, alpha=3.0)), arrays)
    assert plain.config.language.lora_attention.scale == plain.config.language.lora_mlp.scale == 1.0
    np.testing.assert_allclose(logits(plain), logits(scaled), atol=2e-5)


def test_by_default_the_feed_forward_is_scaled_and_openpi_is_not() -> None:
    model = random_model(config())
    as_openpi = with_arrays(config(mlp=replace(MLP, unscaled=True)), dict(to_openpi(model)))
    assert np.abs(logits(model) - logits(as_openpi)).max() > 1e-3
    np.testing.assert_allclose(logits(merge_lora(as_openpi)), logits(as_openpi), atol=2e-5)


def test_a_fresh_lora_is_its_base_also_on_a_full_checkpoint() -> None:
    base = random_model(TEST)
    model = nnx.eval_shape(lambda: Pi0Fast(config(), rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"(?s)`missing_lora`.*missing: .*q_einsum/lora_a"):
        load_openpi(model, to_openpi(base))
    load_openpi(model, to_openpi(base), missing_lora="init")
    halves = {p: np.asarray(v.get_value()) for p, v in flat_params(model).items() if "/lora/" in p}
    assert all(half.any() == path.endswith("_a") for path, half in halves.items())
    np.testing.assert_allclose(logits(model), logits(base), atol=1e-6)
    drawn = random_model(config())
    kept = flat_params(drawn)["language/layers/lora/q_a"].get_value()
    load_openpi(drawn, to_openpi(base), missing_lora="init")
    np.testing.assert_array_equal(flat_params(drawn)["language/layers/lora/q_a"].get_value(), kept)


def test_half_a_lora_is_a_mismatch_and_a_full_network_has_no_place_for_one() -> None:
    arrays = numpy_params(random_model(config()))
    gone = next(path for path in arrays if "lora_b" in path)
    half = {path: array for path, array in arrays.items() if path != gone}
    model = nnx.eval_shape(lambda: Pi0Fast(config(), rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=f"missing: {gone}"):
        load_openpi(model, half, missing_lora="init")
    with pytest.raises(ValueError, match=rf"(?s)merge.*unknown: {gone}"):
        load_openpi(random_model(TEST), arrays)
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_lora(random_model(TEST))


def test_parameters_stay_the_buffers_that_came() -> None:
    arrays = {path: jnp.asarray(a.astype(jnp.bfloat16)) for path, a in numpy_params(random_model(config())).items()}
    model = with_arrays(replace(config(), dtype="bfloat16"), arrays)
    held = to_openpi(model)
    assert all(held[path].unsafe_buffer_pointer() == a.unsafe_buffer_pointer() for path, a in arrays.items())
    hidden = jax.eval_shape(lambda m: m(*inputs()), model)
    assert hidden.dtype == jnp.bfloat16
    full = with_arrays(config(), {path: np.asarray(a).astype(np.float32) for path, a in arrays.items()})
    exact = logits(full)
    assert np.abs(logits(model) - exact).max() < 0.1 * np.abs(exact).max()
    float32 = nnx.eval_shape(lambda: Pi0Fast(config(), rngs=nnx.Rngs(0)))
    load_openpi(float32, {path: np.asarray(a) for path, a in arrays.items()})
    assert {a.dtype for a in to_openpi(float32).values()} == {jnp.dtype("float32")}
