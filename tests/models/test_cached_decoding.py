"""The cache agrees with the teacher-forced pass, whatever is masked, padded or extended by how much."""

from dataclasses import replace
from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.models.config import PRESETS
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.testing import random_images, random_model

ROWS, LENGTH, CAPACITY = 3, 24, 40


@lru_cache
def model(kv_heads: int) -> Pi0Fast:
    config = PRESETS["test"]
    return random_model(replace(config, language=replace(config.language, kv_heads=kv_heads)))


teacher_forced = jax.jit(lambda m, *args: m.logits(m(*args)))
prefill = jax.jit(lambda m, *args: m.prefill(*args, capacity=CAPACITY))
extend = jax.jit(lambda m, *args: m.extend(*args))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), kv_heads=st.sampled_from([1, 2, 4]))
def test_cached_logits_are_the_teacher_forced_ones(seed: int, kv_heads: int) -> None:
    rng, network = np.random.default_rng(seed), model(kv_heads)
    images = random_images(network.config, ROWS, seed)
    # Any camera may be masked, also in the middle (where openpi's decoder goes wrong).
    shown = {name: rng.random(ROWS) < 0.6 for name in images}
    ids = rng.integers(0, network.config.vocab_size, (ROWS, LENGTH)).astype(np.int32)
    prompt = rng.integers(1, 10, ROWS).astype(np.int32)
    bidirectional = rng.integers(1, prompt + 1)
    total = prompt + rng.integers(1, LENGTH - 10, ROWS)
    position = np.arange(LENGTH)[None]
    block = np.maximum(position - bidirectional[:, None] + 1, 0).astype(np.int32)
    full = np.asarray(teacher_forced(network, images, shown, ids, position < total[:, None], block))

    hidden, cache = prefill(network, images, shown, ids, prompt, block)
    logits = np.asarray(network.logits(hidden))
    for row in range(ROWS):
        np.testing.assert_allclose(logits[row, : prompt[row]], full[row, : prompt[row]], atol=1e-5)
    read = prompt.copy()
    while (read < total).any():
        lengths = np.minimum(rng.integers(0, 5, ROWS), total - read).astype(np.int32)
        chunk = np.stack([np.resize(ids[r, read[r] :] if read[r] < LENGTH else ids[r], 4) for r in range(ROWS)])
        hidden, cache = extend(network, cache, chunk, lengths)
        logits = np.asarray(network.logits(hidden))
        for row, n in enumerate(lengths):
            np.testing.assert_allclose(logits[row, :n], full[row, read[row] : read[row] + n], atol=1e-5)
        read += lengths
    np.testing.assert_array_equal(cache.length, network.config.image_tokens + total)


def test_logits_of_a_subset_are_a_part_of_all() -> None:
    network = model(2)
    hidden = jax.random.normal(jax.random.key(0), (2, 5, network.config.language.width))
    ids = jnp.array([7, 3, 500])
    np.testing.assert_allclose(network.logits(hidden, ids), network.logits(hidden)[..., ids], atol=1e-6)


def test_a_bidirectional_chunk_behind_causal_text() -> None:
    network = model(2)
    images = random_images(network.config, 1)
    shown = dict.fromkeys(images, np.ones(1, bool))
    ids = np.arange(10, 20, dtype=np.int32)[None]
    block = np.array([[0, 0, 0, 1, 2, 3, 3, 3, 3, 4]], np.int32)
    full = np.asarray(teacher_forced(network, images, shown, ids, np.ones((1, 10), bool), block))
    _, cache = prefill(network, images, shown, ids[:, :4], np.array([4]), block[:, :4])
    start = network.config.image_tokens
    reach = start + np.array([[4, 8, 8, 8, 8, 9]])
    hidden, _ = extend(network, cache, ids[:, 4:], np.array([6]), reach)
    np.testing.assert_allclose(network.logits(hidden), full[:, 4:], atol=1e-5)


def test_a_cache_too_small_and_wrong_cameras_are_refused() -> None:
    network = model(2)
    images = random_images(network.config, 1)
    shown = dict.fromkeys(images, np.ones(1, bool))
    with pytest.raises(ValueError, match="cannot take a prompt padded to 8"):
        network.prefill(
            images, shown, np.zeros((1, 8), np.int32), np.array([8]), np.zeros((1, 8), np.int32), capacity=4
        )
    with pytest.raises(ValueError, match="base_0_rgb"):
        network.embed_images({"base_0_rgb": images["base_0_rgb"]})
