"""Gradients of answers and of actions, apart: how large each is, and whether they agree.

    grad_norm_answers, grad_norm_actions   of the loss of these ids alone, with the weights of training
    grad_cosine                            1: both want the same change; 0: they ignore each other; -1: opposed

ST4VLA reports the agreement without its sign (PSS); here it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import optax

from inspire_fast.core.batch import TARGET_ACTION, TARGET_ANSWER, Batch
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.state import Metrics, make_gradient


def make_gradient_parts(config: TrainConfig, mesh: Mesh | None = None) -> Callable[[dict[str, Any], Batch], Metrics]:
    """(parameters, batch) -> the three metrics; it takes the memory of two gradients.

    The cosine is NaN for a batch of one kind alone.
    """
    gradient = make_gradient(config, mesh)

    def parts(params: dict[str, Any], batch: Batch) -> Metrics:
        # Rows keep the number of ids that their mean divides by: a tiny weight counts as one.
        of_kinds = [replace(batch, target_weight=_only(batch, kind)) for kind in (TARGET_ANSWER, TARGET_ACTION)]
        trees = [gradient(params, one)[0] for one in of_kinds]
        answers, actions = (jax.tree.map(lambda x: x.astype(jnp.float32), tree) for tree in trees)
        norms = [jnp.asarray(optax.tree.norm(tree)) for tree in (answers, actions)]
        both = norms[0] * norms[1]
        cosine = jnp.where(both > 0, jnp.asarray(optax.tree.vdot(answers, actions)) / both, jnp.nan)
        return {"grad_norm_answers": norms[0], "grad_norm_actions": norms[1], "grad_cosine": cosine}

    return parts


def _only(batch: Batch, kind: int) -> jax.Array:
    """Weights `[b, k]` of one kind of id; the others count in the mean and weigh next to nothing."""
    least = jnp.finfo(jnp.float32).tiny
    return jnp.where(batch.target_kind == kind, batch.target_weight, jnp.minimum(batch.target_weight, least))
