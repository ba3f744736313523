from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.core.batch import TARGET_ACTION, TARGET_ANSWER, Batch
from inspire_fast.models.config import PRESETS
from inspire_fast.models.loss import loss
from inspire_fast.models.testing import random_images, random_model

MODEL = random_model(PRESETS["test"])
compiled_loss = jax.jit(loss)
IDS = np.array([[2, 5, 9, 7, 8, 1], [2, 6, 9, 3, 0, 0]], np.int32)


def batch(**changes: np.ndarray) -> Batch:
    images = random_images(MODEL.config, 2)
    full = Batch(
        images=images,
        image_mask=dict.fromkeys(images, np.ones(2, bool)),
        ids=IDS,
        valid=np.array([[1] * 6, [1, 1, 1, 1, 0, 0]], bool),
        block=np.array([[0, 0, 1, 2, 3, 4], [0, 0, 1, 2, 3, 3]], np.int32),
        target_at=np.array([[2, 4, 5], [3, 0, 0]], np.int32),
        target_weight=np.array([[1, 1, 1], [1, 0, 0]], np.float32),
        target_kind=np.array([[TARGET_ANSWER, TARGET_ACTION, TARGET_ACTION], [TARGET_ACTION, 0, 0]], np.int8),
    )
    return replace(full, **changes)


def by_hand(b: Batch) -> np.ndarray:
    """Log-softmax over everything, then picked: what the gathered loss must equal."""
    logits = jax.jit(lambda m, *args: m.logits(m(*args)))(MODEL, b.images, b.image_mask, b.ids, b.valid, b.block)
    log_p = np.asarray(jax.nn.log_softmax(logits))
    return -np.array([[log_p[r, p - 1, IDS[r, p]] if p else 0.0 for p in b.target_at[r]] for r in range(2)])


def test_loss_is_the_mean_of_row_means_and_kinds_are_reported_apart() -> None:
    nll = by_hand(batch())
    value, metrics = compiled_loss(MODEL, batch())
    np.testing.assert_allclose(value, (nll[0].mean() + nll[1, 0]) / 2, rtol=1e-5)
    np.testing.assert_allclose(metrics["answer_loss"], nll[0, 0], rtol=1e-5)
    np.testing.assert_allclose(metrics["action_loss"], (nll[0, 1] + nll[0, 2] + nll[1, 0]) / 3, rtol=1e-5)


def test_weights_scale_a_segment() -> None:
    nll = by_hand(batch())
    value, _ = compiled_loss(MODEL, batch(target_weight=np.array([[0.1, 1, 1], [1, 0, 0]], np.float32)))
    np.testing.assert_allclose(value, ((0.1 * nll[0, 0] + nll[0, 1] + nll[0, 2]) / 3 + nll[1, 0]) / 2, rtol=1e-5)


def test_unsupervised_ids_do_not_matter_to_the_gradient_of_their_logits() -> None:
    """An id after the last supervised one changes nothing at all."""
    changed = IDS.copy()
    changed[1, 4:] = 77
    np.testing.assert_allclose(
        compiled_loss(MODEL, batch(ids=jnp.asarray(changed)))[0], compiled_loss(MODEL, batch())[0], rtol=1e-6
    )


def test_a_batch_without_answers_reports_nan() -> None:
    kind = np.where(np.array([[1, 1, 1], [1, 0, 0]]), TARGET_ACTION, 0).astype(np.int8)
    assert np.isnan(compiled_loss(MODEL, batch(target_kind=kind))[1]["answer_loss"])
