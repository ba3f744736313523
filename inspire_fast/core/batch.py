"""Batch of rendered samples, the pytree of the compiled training step. The only module of `core` that imports JAX."""

from __future__ import annotations

from dataclasses import dataclass

import jax


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch of rendered samples. `b` batch, `l` text length, `k` supervised tokens per row, `h w c` image.

    Attributes:
        images: camera name -> uint8 `[b, h, w, c]`.
        image_mask: camera name -> bool `[b]`; False hides the camera. (pi0-FAST shows absent cameras as black images.)
        ids: int32 `[b, l]`.
        valid: bool `[b, l]`, False on padding after the text.
        block: int32 `[b, l]`, see `TokenSequence.block`.
        target_at: int32 `[b, k]`, positions of supervised tokens; position `p` is predicted from `p - 1`.
        target_weight: float32 `[b, k]`, 0 on padding.
        target_kind: int8 `[b, k]`: 0 padding, 1 answer, 2 action.
        placement: float32 `[b, 3]` in 0..1, where and how augmentation crops and turns each row's pictures, if labels
            are places in them; None: augmentation draws.
    """

    images: dict[str, jax.Array]
    image_mask: dict[str, jax.Array]
    ids: jax.Array
    valid: jax.Array
    block: jax.Array
    target_at: jax.Array
    target_weight: jax.Array
    target_kind: jax.Array
    placement: jax.Array | None = None


TARGET_PADDING, TARGET_ANSWER, TARGET_ACTION = 0, 1, 2
