"""The cache agrees with the teacher-forced pass, whatever is masked, padded or extended by how much."""

from dataclasses import replace
from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.models.config import PRESETS, LoraConfig
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.testing import quick_jit, random_images, random_model

ROWS, LENGTH, CAPACITY = 3, 24, 40


@lru_cache
def model(kv_heads: int) -> Pi0Fast:
    """MQA, GQA (with LoRA) or MHA."""
    config = PRESETS["test"]
    lora = LoraConfig(rank=2, alpha=4.0) if kv_heads == 2 else None
    language = replace(config.language, kv_heads=kv_heads, lora_attention=lora, lora_mlp=lora)
    return random_model(replace(config, language=language))


teacher_forced = quick_jit(lambda m, *args: m.logits(m(*args)))
prefill = quick_jit(lambda m, *args: m.prefill(*args, capacity=CAPACITY))
extend = quick_jit(lambda m, *args: m.extend(*args))


def segments(rng: np.random.Generator, room: int) -> list[tuple[int, bool]]:
    """Random (length, bidirectional) pieces of 1..4 tokens, together no longer than `room`."""
    pieces, used = [], 0
    while used < room and (not pieces or rng.random() < 0.8):
        n = int(rng.integers(1, min(4, room - used) + 1))
        pieces.append((n, bool(rng.random() < 0.5)))
        used += n
    return pieces


def blocks(start: int, pieces: list[tuple[int, bool]]) -> list[int]:
    """`start` tokens in block 0; then one block per bidirectional piece, one per token of a causal one."""
    block = [0] * start
    for n, bidirectional in pieces:
        block += [block[-1] + (1 if bidirectional else i + 1) for i in range(n)]
    return block


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), kv_heads=st.sampled_from([1, 2, 4]))
def test_cached_logits_are_the_teacher_forced_ones(seed: int, kv_heads: int) -> None:
    """Any camera masked, any text split into pieces, bidirectional or causal, read piece by piece at each row's own pace."""
    rng, network = np.random.default_rng(seed), model(kv_heads)
    images = random_images(network.config, ROWS, seed)
    shown = {name: rng.random(ROWS) < 0.6 for name in images}
    ids = rng.integers(0, network.config.vocab_size, (ROWS, LENGTH)).astype(np.int32)
    first = [int(rng.integers(1, 6)) for _ in range(ROWS)]
    beginning = [segments(rng, 4)[:1] if rng.random() < 0.5 else [] for _ in range(ROWS)]
    rest = [segments(rng, LENGTH - 10) for _ in range(ROWS)]
    prompt = np.array([n + sum(m for m, _ in pieces) for n, pieces in zip(first, beginning, strict=True)], np.int32)
    total = prompt + np.array([sum(n for n, _ in pieces) for pieces in rest])
    block = np.zeros((ROWS, LENGTH), np.int32)
    for row in range(ROWS):
        block[row, : total[row]] = blocks(first[row], beginning[row] + rest[row])
    valid = np.arange(LENGTH)[None] < total[:, None]
    full = np.asarray(teacher_forced(network, images, shown, ids, valid, block))

    atol = 1e-5 * max(1.0, float(np.abs(full[valid]).max()))  # float32 rounds relative to the largest

    hidden, cache = prefill(network, images, shown, ids, prompt, block)
    logits = np.asarray(network.logits(hidden))
    for row in range(ROWS):
        np.testing.assert_allclose(logits[row, : prompt[row]], full[row, : prompt[row]], atol=atol, rtol=0)
    read = prompt.copy()
    while any(rest):
        chunk, lengths = np.zeros((ROWS, 4), np.int32), np.zeros(ROWS, np.int32)
        attends_to = np.tile(np.arange(4), (ROWS, 1)) + read[:, None]
        for row, pieces in enumerate(rest):
            if pieces and rng.random() < 0.7:
                n, bidirectional = pieces.pop(0)
                chunk[row, :n], lengths[row] = ids[row, read[row] : read[row] + n], n
                attends_to[row, :n] = read[row] + n - 1 if bidirectional else attends_to[row, :n]
        hidden, cache = extend(network, cache, chunk, lengths, attends_to + network.config.image_tokens)
        logits = np.asarray(network.logits(hidden))
        for row, n in enumerate(lengths):
            np.testing.assert_allclose(logits[row, :n], full[row, read[row] : read[row] + n], atol=atol, rtol=0)
        read += lengths
    np.testing.assert_array_equal(cache.length, network.config.image_tokens + total)


def test_logits_of_a_subset_are_a_part_of_all() -> None:
    network = model(2)
    hidden = jax.random.normal(jax.random.key(0), (2, 5, network.config.language.width))
    ids = jnp.array([7, 3, 500])
    np.testing.assert_allclose(network.logits(hidden, ids), network.logits(hidden)[..., ids], atol=1e-6)


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
    with pytest.raises(ValueError, match=r"\(1, 8, 16, 3\); the network sees \[b, 16, 16, 3\]"):
        network.embed_images({**images, "base_0_rgb": images["base_0_rgb"][:, :8]})
    with pytest.raises(ValueError, match=r"Image masks \['base_0_rgb'\] do not match"):
        network.image_valid({"base_0_rgb": shown["base_0_rgb"]})
