"""Scores of supervised tokens: pieces equal the whole, and the written gradient equals JAX's of the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.models import head

ROWS, TOKENS, WIDTH, VOCAB = 2, 5, 8, 33
HIDDEN = jax.random.normal(jax.random.key(0), (ROWS, TOKENS, WIDTH))
TABLE = jax.random.normal(jax.random.key(1), (VOCAB, WIDTH))
TARGETS = jax.random.randint(jax.random.key(2), (ROWS, TOKENS), 0, VOCAB)
WEIGHTS = jax.random.normal(jax.random.key(3), (3, ROWS, TOKENS))


def by_definition(hidden: jax.Array, table: jax.Array, targets: jax.Array) -> head.Scores:
    logits = jnp.einsum("bkw,vw->bkv", hidden, table)
    return head.Scores(
        normalizer=jnp.log(jnp.exp(logits).sum(-1)),
        chosen=jnp.take_along_axis(logits, targets[..., None], -1)[..., 0],
        mean=logits.mean(-1),
        hit=logits.argmax(-1) == targets,
    )


def value_and_gradients(score):
    def weighted(hidden, table):
        found = score(hidden, table, TARGETS)
        parts = zip(WEIGHTS, (found.normalizer, found.chosen, found.mean), strict=True)
        return sum(jnp.sum(w * x) for w, x in parts), found

    return jax.jit(jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True))(HIDDEN, TABLE)


@pytest.mark.parametrize("pieces", [1, 2, 5])  # two pieces of three tokens: the last one is filled up
def test_pieces_and_their_gradient_are_those_of_the_definition(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "PIECE", -(-ROWS * TOKENS * VOCAB * 4 // pieces))
    assert head._pieces(HIDDEN, TABLE) == pieces
    (_, wanted), gradients = value_and_gradients(by_definition)
    (_, found), same = value_and_gradients(head.scores)
    for one, other in zip(jax.tree.leaves((wanted, gradients)), jax.tree.leaves((found, same)), strict=True):
        np.testing.assert_allclose(other, one, atol=2e-5)
    assert found.hit.any() or not wanted.hit.any()


def test_no_gradient_is_scattered_into_an_array_of_the_logits_size() -> None:
    text = str(jax.make_jaxpr(jax.grad(lambda h: head.scores(h, TABLE, TARGETS).chosen.sum()))(HIDDEN))
    assert "scatter" not in text
    both = (HIDDEN.astype(jnp.bfloat16), TABLE)
    text = str(jax.make_jaxpr(jax.grad(lambda h, t: head.scores(h, t, TARGETS).chosen.sum(), (0, 1)))(*both))
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) >= 3
