"""Next-token cross-entropy over supervised tokens only.

Neither one-hot targets nor logits of unsupervised positions are ever made: hidden states are gathered first.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from inspire_fast.core.batch import TARGET_ACTION, TARGET_ANSWER, Batch
from inspire_fast.models.pi0_fast import Pi0Fast


def token_nll(model: Pi0Fast, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """(negative log-likelihood `[b, k]` of each supervised token, whether it was the most likely one `[b, k]`)."""
    hidden = model(batch.images, batch.image_mask, batch.ids, batch.valid, batch.block)
    before = jnp.maximum(batch.target_at - 1, 0)[..., None]
    logits = model.logits(jnp.take_along_axis(hidden, before, axis=1))
    targets = jnp.take_along_axis(batch.ids, batch.target_at, axis=1)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen, jnp.argmax(logits, axis=-1) == targets


def loss(model: Pi0Fast, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean over rows of a row's weighted mean (openpi's reduction; weights are relative to the number of tokens).

    Returns:
        The scalar loss, and metrics: `answer_loss`, `action_loss` (nats per token), `answer_token_accuracy`,
        `action_token_accuracy`; NaN where the batch holds no such token.
    """
    nll, hit = token_nll(model, batch)
    real = batch.target_weight > 0
    per_row = jnp.sum(nll * batch.target_weight, axis=1) / jnp.maximum(real.sum(axis=1), 1)
    metrics = {"loss": per_row.mean()}
    for name, kind in (("answer", TARGET_ANSWER), ("action", TARGET_ACTION)):
        of_kind = batch.target_kind == kind
        count = of_kind.sum()
        metrics[f"{name}_loss"] = jnp.where(count > 0, jnp.sum(nll * of_kind) / count, jnp.nan)
        metrics[f"{name}_token_accuracy"] = jnp.where(count > 0, jnp.sum(hit * of_kind) / count, jnp.nan)
    return per_row.mean(), metrics
