"""The objective's additions against their definitions over the whole vocabulary."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from inspire_fast.core.batch import Batch
from inspire_fast.models.head import Scores, scores
from inspire_fast.models.loss import Objective, loss, token_losses

VOCAB = 11


class Table:
    """A network whose hidden state is the token's row of a table, and whose logits are the hidden state."""

    def __init__(self) -> None:
        self.rows = 3 * jax.random.normal(jax.random.key(0), (VOCAB, VOCAB))

    def __call__(self, images: dict, image_mask: dict, ids: jax.Array, valid: jax.Array, block: jax.Array) -> jax.Array:
        return self.rows[ids]

    def scores(self, hidden: jax.Array, targets: jax.Array) -> Scores:
        return scores(hidden, jnp.eye(VOCAB), targets)


@pytest.fixture
def batch() -> Batch:
    ids = jax.random.randint(jax.random.key(1), (2, 6), 0, VOCAB)
    return Batch(
        images={},
        image_mask={},
        ids=ids,
        valid=jnp.ones((2, 6), bool),
        block=jnp.zeros((2, 6), int),
        target_at=jnp.array([[2, 3, 5], [1, 4, 0]]),
        target_weight=jnp.array([[1.0, 1.0, 1.0], [0.5, 1.5, 0.0]]),
        target_kind=jnp.array([[1, 2, 2], [1, 2, 0]]),
    )


@partial(jax.jit, static_argnums=1)
def compiled_loss(batch: Batch, objective: Objective) -> tuple[jax.Array, dict[str, jax.Array]]:
    return loss(Table(), batch, objective)


@partial(jax.jit, static_argnums=1)
def by_definition(batch: Batch, objective: Objective) -> jax.Array:
    rows = jnp.arange(2)[:, None]
    logits = Table().rows[batch.ids[rows, batch.target_at - 1]]
    labels = optax.smooth_labels(jax.nn.one_hot(batch.ids[rows, batch.target_at], VOCAB), objective.label_smoothing)
    squared = jnp.log(jnp.exp(logits).sum(-1)) ** 2
    per_token = optax.softmax_cross_entropy(logits, labels) + objective.z_loss * squared
    return (per_token * batch.target_weight).sum(1) / jnp.array([3, 2])


@pytest.mark.parametrize(
    "objective",
    [
        Objective(),
        Objective(z_loss=1e-2),
        Objective(label_smoothing=0.1),
        Objective(z_loss=1e-3, label_smoothing=0.3),
    ],
)
def test_the_objective_is_what_its_names_say(batch: Batch, objective: Objective) -> None:
    value, metrics = compiled_loss(batch, objective)
    np.testing.assert_allclose(value, by_definition(batch, objective).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], value)
    plain = compiled_loss(batch, Objective())[1]
    for name in ("answer_loss", "action_loss", "answer_token_accuracy", "action_token_accuracy"):
        np.testing.assert_array_equal(metrics[name], plain[name])  # the log stays comparable
    if objective != Objective():
        assert not np.allclose(value, plain["loss"], rtol=1e-4)


def test_off_means_off(batch: Batch) -> None:
    tokens = token_losses(Table(), batch)
    assert tokens.objective is tokens.nll


@pytest.mark.parametrize("wrong", [{"z_loss": -1.0}, {"z_loss": float("nan")}, {"label_smoothing": 1.0}])
def test_what_makes_no_sense_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"Objective.* must be a number, at least 0"):
        Objective(**wrong)
