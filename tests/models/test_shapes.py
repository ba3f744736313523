"""Declared shapes are checked while tests run (`tests/conftest.py`): a wrong one is an error at the function's door."""

import jax
import jax.numpy as jnp
from jaxtyping import TypeCheckError
import pytest

from inspire_fast.models.layers import attend


def test_a_wrong_shape_is_refused_also_while_tracing() -> None:
    q, kv, mask = jnp.zeros((1, 3, 4, 8)), jnp.zeros((1, 5, 2, 8)), jnp.ones((1, 3, 5), bool)
    assert attend(q, kv, kv, mask).shape == q.shape
    with pytest.raises(TypeCheckError, match="parameter 'mask'"):
        attend(q, kv, kv, mask[:, :, :4])
    with pytest.raises(TypeCheckError, match="parameter 'v'"):
        jax.eval_shape(attend, q, kv, kv[:, :4], mask)
