"""Low-rank updates: fresh ones change nothing, merged ones are the weights they were, scales are what they say."""

from dataclasses import replace
from functools import lru_cache

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.models.config import PRESETS, LoraConfig, ModelConfig
from inspire_fast.models.inference.merge_lora import merge_lora
from inspire_fast.models.openpi.params import TABLE, flat_params, to_openpi
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.testing import random_images, random_model
from tests.models.params import network_of

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


@jax.jit
def compiled(model: Pi0Fast, *arguments: object) -> jax.Array:
    return model.logits(model(*arguments))


def logits(model: Pi0Fast) -> np.ndarray:
    return np.asarray(compiled(model, *inputs()))


def numpy_params(model: Pi0Fast) -> dict[str, np.ndarray]:
    return {path: np.asarray(array) for path, array in to_openpi(model).items()}


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
    plain = network_of(config(replace(ATTENTION, alpha=2.0), replace(MLP, alpha=3.0)), arrays)
    assert plain.config.language.lora_attention.scale == plain.config.language.lora_mlp.scale == 1.0
    np.testing.assert_allclose(logits(plain), logits(scaled), atol=2e-5)


def test_by_default_the_feed_forward_is_scaled_and_openpi_is_not() -> None:
    model = random_model(config())
    as_openpi = network_of(config(mlp=replace(MLP, unscaled=True)), dict(to_openpi(model)))
    assert np.abs(logits(model) - logits(as_openpi)).max() > 1e-3
    np.testing.assert_allclose(logits(merge_lora(as_openpi)), logits(as_openpi), atol=2e-5)


def test_a_fresh_lora_is_its_base() -> None:
    fresh = jax.jit(lambda: Pi0Fast(config(), rngs=nnx.Rngs(0)))()
    arrays = to_openpi(fresh)
    halves = {path: np.asarray(half) for path, half in arrays.items() if "lora" in path}
    assert all(half.any() == path.endswith("_a") for path, half in halves.items())
    base = network_of(TEST, {path: array for path, array in arrays.items() if path not in halves})
    np.testing.assert_allclose(logits(fresh), logits(base), atol=1e-6)


def test_half_a_lora_is_a_mismatch_and_a_full_network_has_no_place_for_one() -> None:
    arrays = numpy_params(random_model(config()))
    gone = next(path for path in arrays if "lora_b" in path)
    with pytest.raises(ValueError, match=f"1 differences:\n  missing: {gone}"):
        network_of(config(), {path: array for path, array in arrays.items() if path != gone})
    with pytest.raises(ValueError, match=f"unknown: {gone}"):
        network_of(TEST, arrays)
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_lora(random_model(TEST))


def test_parameters_keep_the_dtype_asked_for() -> None:
    arrays = numpy_params(random_model(config()))
    model = network_of(replace(config(), dtype="bfloat16"), arrays, "bfloat16")
    assert {a.dtype for a in to_openpi(model).values()} == {jnp.dtype("bfloat16")}
    hidden = jax.eval_shape(lambda m, *a: m(*a), model, *inputs())
    assert hidden.dtype == jnp.bfloat16
    full = network_of(config(), {path: np.asarray(a) for path, a in to_openpi(model).items()})
    assert {a.dtype for a in to_openpi(full).values()} == {jnp.dtype("float32")}
    exact = logits(full)
    assert np.abs(logits(model) - exact).max() < 0.1 * np.abs(exact).max()
