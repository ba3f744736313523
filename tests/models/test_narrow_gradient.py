"""Gradients by bfloat16 zeros: the weight's values are read, and a weight read in another dtype is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.models.config import PRESETS
from inspire_fast.models.freeze import TRAIN_ALL
from inspire_fast.models.narrow_gradient import NarrowGradient, read_once
from inspire_fast.training.state import trained_paths

WEIGHT = jnp.linspace(-1, 1, 12).reshape(2, 2, 3)


def test_the_gradient_is_the_wide_one_in_bfloat16() -> None:
    x = jnp.array([[1.5, -2.0]], jnp.bfloat16)

    def wide(weight: jax.Array) -> jax.Array:
        return jnp.sum((x @ weight[1].astype(jnp.bfloat16)) ** 2)

    def narrow(like: jax.Array) -> jax.Array:
        return jnp.sum((x @ NarrowGradient(WEIGHT, like)[1].astype(jnp.bfloat16)) ** 2)

    value, gradient = jax.value_and_grad(narrow)(jnp.zeros(WEIGHT.shape, jnp.bfloat16))
    wanted, expected = jax.value_and_grad(wide)(WEIGHT)
    assert value == wanted
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(gradient, np.float32), np.asarray(expected))


def test_another_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gradient of this weight is bfloat16; it cannot be read as float32"):
        NarrowGradient(WEIGHT, jnp.zeros(WEIGHT.shape, jnp.bfloat16)).astype("float32")


def test_matrices_of_layers_are_read_once_and_norms_are_not() -> None:
    paths = trained_paths(PRESETS["gemma_2b"], TRAIN_ALL)
    once = {path for path in paths if read_once(path)}
    assert {"language/layers/down", "language/layers/kv", "vision/layers/out"} < once
    assert not any(word in path for path in once for word in ("norm", "bias", "embedding", "position", "head"))
    assert len(once) == 11
