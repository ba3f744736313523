"""The key/value cache of decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class KVCache:
    """Keys and values of what each row has read, a pair of arrays per layer.

    The token at position `p` of a row is in slot `p`, whatever was padded around it, so that cached and teacher-forced
    passes see the same positions and the same keys. Slots from `length` on may hold anything: the next tokens overwrite
    them, and no mask reaches them before.

    Rows and heads share one axis, since XLA's CPU compiler would copy a `[b, g, s, h]` into this very shape for its
    products, whole and for every token (a quarter of a step's time).

    Attributes:
        k, v: per layer; the first axis is `b * g`, a row's heads next to each other.
        valid: False on masked cameras.
        length: positions read so far.
    """

    k: tuple[Float[Array, "bg s h"], ...]
    v: tuple[Float[Array, "bg s h"], ...]
    valid: Bool[Array, "b s"]
    length: Int[Array, " b"]

    @classmethod
    def of_prompt(
        cls,
        k: Sequence[Float[Array, "bg s h"]],
        v: Sequence[Float[Array, "bg s h"]],
        *,
        shown: Bool[Array, "b i"],
        lengths: Int[Array, " b"],
        capacity: int,
    ) -> KVCache:
        """Keys and values of images, `shown` or not, and of text padded to one length, with slots up to `capacity`."""
        images = shown.shape[1]
        free = [(0, 0), (0, images + capacity - k[0].shape[1]), (0, 0)]
        return cls(
            k=tuple(jnp.pad(one, free) for one in k),
            v=tuple(jnp.pad(one, free) for one in v),
            # Padded text is not masked here: its slots come after `length`, and the next tokens overwrite them.
            valid=jnp.concatenate([shown, jnp.ones((len(shown), capacity), bool)], axis=1),
            length=images + lengths,
        )
