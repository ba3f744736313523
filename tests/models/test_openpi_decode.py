"""openpi's free text: rows end together or not at all, and draws follow the key."""

from functools import partial

import jax
import numpy as np

from inspire_fast.models.config import PRESETS
from inspire_fast.models.openpi.decode import Prompt, sample
from inspire_fast.models.testing import random_images, random_model

MODEL = random_model(PRESETS["test"])
STEPS = 5
VALID = np.arange(6)[None] < np.array([[3], [6]])
PROMPT = Prompt(
    images=random_images(MODEL.config, 2),
    image_mask={"base_0_rgb": np.array([False, True]), "left_wrist_0_rgb": np.array([True, False])},
    ids=np.random.default_rng(0).integers(3, MODEL.config.vocab_size, (2, 6)).astype(np.int32) * VALID,
    valid=VALID,
)
compiled = jax.jit(partial(sample, max_decoding_steps=STEPS))


def written(eos: int = -1, temperature: float = 0.0) -> np.ndarray:
    options = {"eos": np.int32(eos), "temperature": np.float32(temperature), "key": jax.random.key(3)}
    return np.asarray(compiled(MODEL, PROMPT, **options))


def test_rows_end_together_or_not_at_all() -> None:
    free = written()
    for eos in np.unique(free):
        together = np.flatnonzero((free == eos).all(axis=0))
        n = together[0] + 1 if len(together) else STEPS
        tokens = written(int(eos))
        np.testing.assert_array_equal(tokens[:, :n], free[:, :n])
        assert not tokens[:, n:].any()


def test_warm_samples_differ_by_key_and_are_repeatable() -> None:
    warm = written(temperature=50.0)
    np.testing.assert_array_equal(warm, written(temperature=50.0))
    assert (warm != written()).any()
