"""Free text behind a prompt: the right way agrees with the training pass and ends row by row; openpi's way does neither."""

from functools import partial

import jax
import numpy as np

from inspire_fast.models.config import PRESETS
from inspire_fast.models.openpi.sampling import forced_logits, sample
from inspire_fast.models.testing import quick_jit, random_images, random_model

MODEL = random_model(PRESETS["test"])
IMAGES = random_images(MODEL.config, 2)
SHOWN = {"base_0_rgb": np.array([False, True]), "left_wrist_0_rgb": np.array([True, False])}
LENGTHS, STEPS = np.array([3, 6]), 5
VALID = np.arange(6)[None] < LENGTHS[:, None]
IDS = np.random.default_rng(0).integers(3, MODEL.config.vocab_size, (2, 6)).astype(np.int32) * VALID
PROMPT = (IMAGES, SHOWN, IDS, VALID, np.zeros((2, 6), np.int32))


compiled = quick_jit(partial(sample, max_decoding_steps=STEPS), static_argnames="openpi_decode")


def written(eos: int = -1, *, openpi_decode: bool = False, temperature: float = 0.0) -> np.ndarray:
    return np.asarray(
        compiled(
            MODEL,
            *PROMPT,
            eos=np.int32(eos),
            openpi_decode=openpi_decode,
            temperature=np.float32(temperature),
            key=jax.random.key(3),
        )
    )


def test_greedy_tokens_are_the_training_pass_s() -> None:
    tokens = written()
    text = np.pad(IDS, ((0, 0), (0, STEPS)))
    for row, n in enumerate(LENGTHS):
        text[row, n : n + STEPS] = tokens[row]
    position = np.arange(text.shape[1])[None]
    block = np.maximum(position - LENGTHS[:, None] + 1, 0).astype(np.int32)
    valid = position < LENGTHS[:, None] + STEPS
    logits = quick_jit(lambda m, *a: m.logits(m(*a)))(MODEL, IMAGES, SHOWN, text, valid, block)
    cached = quick_jit(forced_logits)(MODEL, *PROMPT, tokens)
    for row, n in enumerate(LENGTHS):
        np.testing.assert_array_equal(np.argmax(logits[row], -1)[n - 1 : n - 1 + STEPS], tokens[row])
        np.testing.assert_allclose(cached[row], logits[row, n - 1 : n + STEPS], atol=5e-5, rtol=0)  # logits reach 5


def test_rows_end_on_their_own() -> None:
    free = written()
    for row in range(2):
        for step in range(STEPS):
            ended = written(int(free[row, step]))
            for own, tokens in zip(ended, free, strict=True):
                ends = np.flatnonzero(tokens == free[row, step])
                n = ends[0] + 1 if len(ends) else STEPS
                np.testing.assert_array_equal(own[:n], tokens[:n])
                assert not own[n:].any()


def test_openpi_s_rows_end_together_or_not_at_all() -> None:
    free = written(openpi_decode=True)
    for eos in np.unique(free):
        together = np.flatnonzero((free == eos).all(axis=0))
        n = together[0] + 1 if len(together) else STEPS
        tokens = written(int(eos), openpi_decode=True)
        np.testing.assert_array_equal(tokens[:, :n], free[:, :n])
        assert not tokens[:, n:].any()


def test_warm_samples_differ_by_key_and_are_repeatable() -> None:
    warm = written(temperature=50.0)
    np.testing.assert_array_equal(warm, written(temperature=50.0))
    assert (warm != written()).any()
