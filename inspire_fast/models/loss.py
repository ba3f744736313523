"""Next-token cross-entropy over supervised tokens only.

Hidden states are gathered before the logits, so that logits of unsupervised positions are never computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Bool, Float

from inspire_fast.core.batch import TARGET_ACTION, TARGET_ANSWER, Batch
from inspire_fast.core.ranges import Decay, NotNegative, require_ranges
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.placement import place


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Additions to the cross-entropy of every supervised token; losses in the log stay the plain ones.

    Attributes:
        z_loss: weight of the squared log of the softmax's denominator, so that logits do not drift (Chowdhery et al.
            2022, "PaLM", which takes 1e-4).
        label_smoothing: share of the target's probability that is spread over the whole vocabulary (Szegedy et al.
            2016). Stated probabilities of answers become smaller than their frequencies: leave it off where those
            matter.
    """

    z_loss: NotNegative = 0.0
    label_smoothing: Decay = 0.0

    def __post_init__(self) -> None:
        require_ranges(self)


PLAIN = Objective()


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class TokenLosses:
    """Losses of supervised tokens; meaningless on padding.

    Attributes:
        nll: negative log-likelihood, nats.
        hit: the target was the most likely token.
        objective: the loss to minimise.
    """

    nll: Float[Array, "b k"]
    hit: Bool[Array, "b k"]
    objective: Float[Array, "b k"]


def token_losses(model: Pi0Fast, batch: Batch, objective: Objective = PLAIN) -> TokenLosses:
    """The losses of every supervised token."""
    hidden = model(batch.images, batch.image_mask, batch.ids, batch.valid, batch.block)
    # The token at position p is predicted at p - 1; padded targets are at 0 and read position 0 instead.
    before = jnp.maximum(batch.target_at - 1, 0)[..., None]
    targets = jnp.take_along_axis(batch.ids, batch.target_at, axis=1)
    found = model.scores(place(jnp.take_along_axis(hidden, before, axis=1), "batch"), targets)
    minimised = nll = found.normalizer - found.chosen
    if objective.label_smoothing:
        spread = found.normalizer - found.mean
        minimised = (1 - objective.label_smoothing) * nll + objective.label_smoothing * spread
    if objective.z_loss:
        minimised = minimised + objective.z_loss * found.normalizer**2
    return TokenLosses(nll=nll, hit=found.hit, objective=minimised)


def loss(model: Pi0Fast, batch: Batch, objective: Objective = PLAIN) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean over rows of each row's weighted mean (openpi's reduction; weights are relative to the number of tokens).

    Returns:
        The scalar to minimise, and metrics: `loss` (the same), `answer_loss`, `action_loss` (nats per token, plain
        cross-entropy), `answer_token_accuracy`, `action_token_accuracy`; NaN where the batch holds no such token.
        `weight_answer` and `weight_action` are what a nat of each adds to the loss: their ratio is the effective one.
    """
    tokens = token_losses(model, batch, objective)
    ids = jnp.maximum((batch.target_weight > 0).sum(axis=1), 1)  # with loss, per row
    per_row = jnp.sum(tokens.objective * batch.target_weight, axis=1) / ids
    metrics = {"loss": per_row.mean()}
    for name, kind in (("answer", TARGET_ANSWER), ("action", TARGET_ACTION)):
        of_kind = batch.target_kind == kind
        count = of_kind.sum()
        metrics[f"{name}_loss"] = jnp.where(count > 0, jnp.sum(tokens.nll * of_kind) / count, jnp.nan)
        metrics[f"weight_{name}"] = (jnp.sum(batch.target_weight * of_kind, axis=1) / ids).mean()
        metrics[f"{name}_token_accuracy"] = jnp.where(count > 0, jnp.sum(tokens.hit * of_kind) / count, jnp.nan)
    return per_row.mean(), metrics
