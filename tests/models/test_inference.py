"""The network laid out for decoding: shorter weights, products, wanted places, donation, attention kernels, errors."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.models.config import PRESETS, LoraConfig, ModelConfig
from inspire_fast.models.inference import kernels
from inspire_fast.models.inference.build import Weights, build
from inspire_fast.models.inference.kernels import (
    attend_heads,
    by_head,
    fused,
    implementation_for,
    relative_difference,
)
from inspire_fast.models.inference.model import InferenceModel, logits
from inspire_fast.models.inference.weights import Matrix
from inspire_fast.models.layers import attend
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.sequence import image_token_mask
from inspire_fast.models.testing import random_images, random_model

ROWS, LENGTH, PROMPT = 3, 20, 9


def config(kv_heads: int = 2, **changes: object) -> ModelConfig:
    lora = LoraConfig(rank=2, alpha=4.0) if kv_heads == 2 else None
    test = PRESETS["test"]
    language = replace(test.language, kv_heads=kv_heads, lora_attention=lora, lora_mlp=lora)
    return replace(test, language=language, **changes)


@jax.jit
def teacher_forced(model: Pi0Fast, *batch: jax.Array) -> jax.Array:
    return model.logits(model(*batch))


head_of = jax.jit(lambda m: m.head(jnp.arange(m.config.vocab_size)))
prefill = jax.jit(lambda m, images, *args: m.prefill(m.embed_images(images), *args, capacity=LENGTH))
extend = jax.jit(lambda m, *args: m.extend(*args))


def cached(model: InferenceModel, images: dict, shown: dict, ids: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Logits of all positions: a prompt, then chunks in which rows read different numbers of tokens."""
    head, rows = head_of(model), np.arange(ROWS)[:, None]
    hidden, cache = prefill(model, images, shown, ids[:, :PROMPT], np.full(ROWS, PROMPT), block[:, :PROMPT])
    out = np.zeros((ROWS, LENGTH + 4, model.config.vocab_size), np.float32)
    out[:, :PROMPT] = logits(hidden, head)
    read = np.full(ROWS, PROMPT)
    for counts in ((4, 1, 0), (2, 4, 3), (4, 4, 4), (4, 4, 4)):
        lengths, at = np.minimum(counts, LENGTH - read), read[:, None] + np.arange(4)
        hidden, cache = extend(model, cache, ids[rows, np.minimum(at, LENGTH - 1)], lengths)
        real = np.arange(4) < lengths[:, None]
        out[rows, np.where(real, at, LENGTH)] = logits(hidden, head)
        read += lengths
    assert (read == LENGTH).all()
    return out[:, :LENGTH]


def both(network: ModelConfig, weights: Weights | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the trained network's full pass, and of cached decoding."""
    model = random_model(network)
    rng = np.random.default_rng(0)
    images = random_images(network, ROWS)
    shown = {name: np.array([True, n == 0, True]) for n, name in enumerate(images)}
    ids = rng.integers(0, network.vocab_size, (ROWS, LENGTH)).astype(np.int32)
    block = np.maximum(np.arange(LENGTH) - 4, 0)[None].repeat(ROWS, 0)  # five tokens see each other, the rest is causal
    full = teacher_forced(model, images, shown, ids, np.ones((ROWS, LENGTH), bool), block)
    return np.asarray(full), cached(build(model, weights=weights), images, shown, ids, block)


@pytest.mark.parametrize(("weights", "least", "most"), [("bfloat16", 1e-4, 0.01), ("int8", 1e-3, 0.03)])
def test_shorter_weights_cost_a_known_error(weights: Weights, least: float, most: float) -> None:
    full, decoded = both(config(), weights)
    error = np.linalg.norm(decoded - full) / np.linalg.norm(full)
    assert least < error < most


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("tokens", [1, 9])
@pytest.mark.parametrize("outputs", [24, 25])
def test_a_product_is_that_of_the_weights_as_they_are_held(
    weights: Weights, tokens: int, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tokens there are, of an odd number of outputs too: for a single one, cores share the outputs."""
    monkeypatch.setattr("inspire_fast.models.inference.weights._parallel_parts", lambda: 8)
    rng = np.random.default_rng(1)
    full = rng.normal(size=(outputs, 16)).astype(np.float32)
    x = rng.normal(size=(1, tokens, 16)).astype(np.float32)
    if weights == "int8":
        scale = np.abs(full).max(axis=1) / 127
        matrix = Matrix(values=jnp.asarray(np.round(full / scale[:, None]), jnp.int8), scale=jnp.asarray(scale))
    else:
        matrix = Matrix(values=jnp.asarray(full, weights))
    np.testing.assert_allclose(
        matrix(jnp.asarray(x)), x @ np.asarray(matrix.dense(jnp.float32)).T, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(
        matrix.rows(jnp.array([3, 1])).dense(jnp.float32), np.asarray(matrix.dense(jnp.float32))[[3, 1]]
    )


def test_wanted_places_come_back_as_out_of_the_whole() -> None:
    """The last layer is worked out for them alone; the cache holds everything."""
    model = build(random_model(config()))
    rng = np.random.default_rng(4)
    images, shown = random_images(model.config, ROWS), dict.fromkeys(model.config.cameras, np.ones(ROWS, bool))
    ids = rng.integers(0, model.config.vocab_size, (ROWS, PROMPT)).astype(np.int32)
    text = ids, np.array([9, 7, 5]), np.arange(PROMPT)[None].repeat(ROWS, 0)
    wanted = jnp.array([[8, 0], [6, 6], [4, 2]])
    whole, cache = prefill(model, images, shown, *text)
    part, same = jax.jit(lambda m, i, *a: m.prefill(m.embed_images(i), *a, LENGTH, wanted))(model, images, shown, *text)
    np.testing.assert_allclose(part, np.take_along_axis(whole, wanted[..., None], axis=1), atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), cache, same)
    chunk = ids[:, :4], np.array([4, 2, 1]), cache.length[:, None] + np.arange(4)
    whole, cache = extend(model, cache, *chunk)
    part, same = extend(model, same, *chunk, np.array([[3], [1], [0]]))
    np.testing.assert_allclose(part[:, 0], np.asarray(whole)[np.arange(ROWS), [3, 1, 0]], atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), cache, same)


def test_int8_takes_a_quarter_of_the_bytes() -> None:
    model = random_model(config())
    whole, short = (build(model, weights=w) for w in ("float32", "int8"))
    size = lambda m: sum(x.nbytes for x in jax.tree.leaves(m.language))  # noqa: E731
    assert 0.25 < size(short) / size(whole) < 0.4  # scales and norms weigh something on weights this small


def test_a_donated_network_is_freed_and_a_kept_one_is_not() -> None:
    kept, donated = random_model(config(4)), random_model(config(4))
    build(kept, weights="bfloat16")
    build(donated, weights="bfloat16", donate=True)
    assert not kept.language.layers.qkv[...].is_deleted()
    assert donated.language.layers.qkv[...].is_deleted()
    assert donated.language.embedding[...].is_deleted()


def test_wrong_cameras_and_a_cache_too_small_are_refused() -> None:
    network = random_model(config(4))
    decoder, images = build(network), {c: jnp.asarray(i) for c, i in random_images(network.config, 1).items()}
    tokens, shown = decoder.embed_images(images), dict.fromkeys(images, jnp.ones(1, bool))
    text = (jnp.zeros((1, 8), jnp.int32), jnp.array([8]), jnp.zeros((1, 8), jnp.int32))
    with pytest.raises(ValueError, match="cannot take a prompt padded to 8"):
        decoder.prefill(tokens, shown, *text, capacity=4)
    with pytest.raises(ValueError, match=r"left_wrist_0_rgb'\]; got \['base_0_rgb'\]"):
        decoder.prefill({"base_0_rgb": tokens["base_0_rgb"]}, shown, *text, capacity=8)
    for model in (network, decoder):
        with pytest.raises(ValueError, match=r"\(1, 8, 16, 3\); the network sees \[b, 16, 16, 3\]"):
            model.embed_images({**images, "base_0_rgb": images["base_0_rgb"][:, :8]})
    with pytest.raises(ValueError, match=r"got \['base_0_rgb'\]"):
        network.embed_images({"base_0_rgb": images["base_0_rgb"]})
    with pytest.raises(ValueError, match=r"got \['base_0_rgb'\]"):
        image_token_mask({"base_0_rgb": shown["base_0_rgb"]}, network.config)


def test_every_way_to_attend_computes_the_same() -> None:
    """Over a cache, and what cuDNN is called through (here on XLA): layouts, scale and mask mean the same."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 12, heads, 8)).astype(np.float32) for heads in (4, 2, 2))
    mask = np.tril(np.ones((2, 12, 12), bool))
    mask[1, 1:, 0] = False

    @jax.jit
    def every_way(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> list[jax.Array]:
        xla = fused(q, k, v, mask, implementation="xla")
        return [attend(q, k, v, mask), xla, attend_heads(q, by_head(k), by_head(v), mask)]

    ours, *others = every_way(q, k, v, mask)
    for other in others:
        np.testing.assert_allclose(other, ours, atol=2e-6)
    assert implementation_for(256, jnp.dtype("float32")) == "xla"


@pytest.mark.parametrize(
    ("kernel", "chosen"),
    [
        (lambda reference: reference, "cudnn"),
        (lambda reference: reference * 1.005, "cudnn"),  # rounding
        (lambda reference: reference * 1.05, "xla"),  # small everywhere, and wrong
        (lambda reference: reference.at[:, :64].set(reference[:, 64:]), "xla"),
        (lambda reference: jnp.full_like(reference, jnp.nan), "xla"),
        (lambda reference: 1 / 0, "xla"),
    ],
)
def test_a_kernel_is_chosen_that_runs_and_agrees(
    kernel: Callable[[jax.Array], jax.Array], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a backend that calls itself a GPU; cuDNN is played."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(kernels, "fused", lambda q, k, v, mask, implementation: kernel(attend(q, k, v, mask)))
    fresh = implementation_for.__wrapped__
    assert fresh(64, jnp.dtype("bfloat16")) == chosen
    assert fresh(64, jnp.dtype("float32")) == "xla"  # cuDNN takes 16-bit floats only


@pytest.mark.gpu
@pytest.mark.parametrize("head_dim", [64, 128, 256])
def test_the_gpu_kernel_agrees_with_attention_in_float32(head_dim: int) -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    q, k, v = (jax.random.normal(x, (2, 256, n, head_dim), jnp.bfloat16) for x, n in zip(keys, (8, 1, 1), strict=True))
    q, mask = q * head_dim**-0.5, jnp.tril(jnp.ones((2, 256, 256), bool))
    if implementation_for(head_dim, jnp.dtype("bfloat16")) == "xla":
        pytest.skip(f"cuDNN has no attention for heads of {head_dim} on this device: there is nothing to compare.")
    exact = attend(*(x.astype(jnp.float32) for x in (q, k, v)), mask)
    assert relative_difference(fused(q, k, v, mask, implementation="cudnn"), exact) < 0.01
