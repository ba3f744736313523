"""A LoRA checkpoint as the full checkpoint that computes the same: updates are added to their weights during reading.

One weight at a time is in memory, with its halves.
"""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from inspire_fast.checkpoints.params.base import StoredParams, is_lora
from inspire_fast.models.config import GemmaConfig
from inspire_fast.models.lora import ROUTES, merged_weight, update_of
from inspire_fast.models.openpi.params import TABLE

_LAYERS = "language/layers"


def merged(lora: StoredParams, config: GemmaConfig) -> StoredParams:
    """Parameters of a LoRA checkpoint with its updates added to the weights that they belong to.

    Updates are computed in float32, then rounded to the dtype asked for.

    Args:
        lora: the checkpoint, base weights and halves.
        config: its language model: which weights have an update, and of what strength.

    Raises:
        ValueError: the network has no LoRA.
    """
    if not config.has_lora:
        raise ValueError(f"There is nothing to merge in {lora.origin}: its network has no LoRA.")
    updated = {TABLE[f"{_LAYERS}/{weight}"]: weight for weight in ROUTES}

    def read(path: str, dtype: np.dtype) -> np.ndarray:
        weight = updated.get(path, "")
        update = update_of(config, weight)
        if update is None:
            return lora.read(path, dtype)
        array, *halves = (
            lora.read(TABLE[f"{_LAYERS}/{name}"], jnp.dtype(jnp.float32))
            for name in (weight, f"lora/{weight}_a", f"lora/{weight}_b")
        )
        whole = np.empty(array.shape, dtype)
        # One layer at a time: an update is as large as its weight.
        for layer, parts in enumerate(zip(array, *halves, strict=True)):
            one = merged_weight(*(jnp.asarray(p)[None] for p in parts), route=ROUTES[weight], scale=update.scale)
            whole[layer] = np.asarray(one[0])
        return whole

    return replace(lora, leaves={path: leaf for path, leaf in lora.leaves.items() if not is_lora(path)}, read=read)
