"""A block in pieces of rows equals the block, and so do its gradients."""

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.models import row_pieces
from inspire_fast.models.row_pieces import by_rows, pieces_of

X = jax.random.normal(jax.random.key(0), (6, 4, 3))
LAYER = {"w": jax.random.normal(jax.random.key(1), (3, 3)), "norm": jnp.arange(3.0)}
SHOWN = jnp.arange(24).reshape(6, 4) % 5 > 0


def block(x: jax.Array, layer: dict, shown: jax.Array) -> jax.Array:
    return x + jnp.tanh(x @ layer["w"] + layer["norm"]) * shown[..., None]


def test_pieces_equal_the_whole() -> None:
    def weighted(run):
        return jax.jit(jax.value_and_grad(lambda x, layer: jnp.sum(run(x, layer, SHOWN) ** 2), argnums=(0, 1)))

    wanted, found = weighted(block)(X, LAYER), weighted(by_rows(block, 3))(X, LAYER)
    for one, other in zip(jax.tree.leaves(wanted), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-5)


def test_gradients_of_bfloat16_weights_are_summed_in_float32() -> None:
    """A thousand small pieces after a large one: in bfloat16 the small ones would vanish."""
    x = jnp.full((1001, 1), 1 / 256, jnp.bfloat16).at[0].set(1.0)
    gradient = jax.grad(lambda w: by_rows(lambda x, w, _: x * w, 1001)(x, w, x).astype(jnp.float32).sum())
    assert abs(float(gradient(jnp.bfloat16(1.0))) - (1 + 1000 / 256)) < 0.02


def test_pieces_divide_the_rows_and_hold_few_tokens() -> None:
    assert [pieces_of(32, 988), pieces_of(8, 988), pieces_of(6, 2000), pieces_of(7, 2000)] == [4, 1, 2, 7]
    assert pieces_of(3, 10 * row_pieces.TOKENS) == 3
