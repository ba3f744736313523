"""Cached decoding agrees with the teacher-forced pass, for any masked cameras, padding and chunks."""

from dataclasses import replace
from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.models.config import PRESETS, LoraConfig
from inspire_fast.models.inference.build import build
from inspire_fast.models.inference.model import InferenceModel, logits
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.testing import random_images, random_model

ROWS, LENGTH, CAPACITY = 3, 24, 40


@lru_cache
def networks(kv_heads: int) -> tuple[Pi0Fast, InferenceModel, np.ndarray]:
    """MQA, GQA (with LoRA) or MHA: as trained, laid out for decoding, and the latter's head for all ids."""
    config = PRESETS["test"]
    lora = LoraConfig(rank=2, alpha=4.0) if kv_heads == 2 else None
    language = replace(config.language, kv_heads=kv_heads, lora_attention=lora, lora_mlp=lora)
    trained = random_model(replace(config, language=language))
    decoder = build(trained)
    return trained, decoder, np.asarray(decoder.head(jnp.arange(config.vocab_size)))


teacher_forced = jax.jit(lambda m, *args: m.logits(m(*args)))
prefill = jax.jit(lambda m, images, *args: m.prefill(m.embed_images(images), *args, capacity=CAPACITY))
extend = jax.jit(lambda m, *args: m.extend(*args))
scores = jax.jit(logits)


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
    """Any camera masked; any text in pieces, bidirectional or causal, read piece by piece at each row's own pace."""
    rng = np.random.default_rng(seed)
    network, decoder, head = networks(kv_heads)
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

    hidden, cache = prefill(decoder, images, shown, ids, prompt, block)
    cached = np.asarray(scores(hidden, head))
    for row in range(ROWS):
        np.testing.assert_allclose(cached[row, : prompt[row]], full[row, : prompt[row]], atol=atol, rtol=0)
    read = prompt.copy()
    while any(rest):
        chunk, lengths = np.zeros((ROWS, 4), np.int32), np.zeros(ROWS, np.int32)
        attends_to = np.tile(np.arange(4), (ROWS, 1)) + read[:, None]
        for row, pieces in enumerate(rest):
            if pieces and rng.random() < 0.7:
                n, bidirectional = pieces.pop(0)
                chunk[row, :n], lengths[row] = ids[row, read[row] : read[row] + n], n
                attends_to[row, :n] = read[row] + n - 1 if bidirectional else attends_to[row, :n]
        hidden, cache = extend(decoder, cache, chunk, lengths, attends_to + network.config.image_tokens)
        cached = np.asarray(scores(hidden, head))
        for row, n in enumerate(lengths):
            np.testing.assert_allclose(cached[row, :n], full[row, read[row] : read[row] + n], atol=atol, rtol=0)
        read += lengths
    np.testing.assert_array_equal(cache.length, network.config.image_tokens + total)
