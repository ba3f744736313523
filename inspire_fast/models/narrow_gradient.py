"""Gradient of a float32 weight in the dtype of the products that read it.

A product of bfloat16 operands gives a bfloat16 gradient. JAX then widens it, because a gradient has its weight's dtype,
and a stack of all layers' gradients takes twice the memory for the same numbers. Here the weight is a constant, and the
gradient is that of zeros which are never read, in the product's dtype. Nothing is lost for a weight that is read once.
"""

from __future__ import annotations

from dataclasses import dataclass
import re
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp

# Weights that one product reads, in the activations' dtype. Norms, biases and the embedding are read otherwise.
_READ_ONCE = re.compile(r"language/layers/(q|kv|qkv|out|gate_up|down)$|vision/layers/(query|key|value|out|up|down)$")


def read_once(path: str) -> bool:
    """Whether the parameter at a '/'-path of ours may be a `NarrowGradient`."""
    return _READ_ONCE.match(path) is not None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NarrowGradient:
    """A weight in the place of an array, for code that reads it by `astype` and by index.

    Attributes:
        weight: its values.
        like: zeros of the same shape in the gradient's dtype; differentiate by them.
    """

    weight: Array
    like: Array

    def astype(self, dtype: Any) -> Array:
        """The weight in the gradient's dtype.

        Raises:
            ValueError: another dtype, which would have no gradient.
        """
        if jnp.dtype(dtype) != self.like.dtype:
            raise ValueError(f"The gradient of this weight is {self.like.dtype}; it cannot be read as {dtype}.")
        return _cast(self.weight, self.like)

    def __getitem__(self, index: Any) -> NarrowGradient:
        return NarrowGradient(self.weight[index], self.like[index])


@jax.custom_vjp
def _cast(weight: Array, like: Array) -> Array:
    return weight.astype(like.dtype)


def _cast_forward(weight: Array, like: Array) -> tuple[Array, Array]:
    return weight.astype(like.dtype), weight


def _cast_backward(weight: Array, gradient: Array) -> tuple[Array, Array]:
    return jnp.zeros_like(weight), gradient


_cast.defvjp(_cast_forward, _cast_backward)
