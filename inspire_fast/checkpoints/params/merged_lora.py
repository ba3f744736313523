"""A LoRA checkpoint as the full checkpoint that computes the same: updates are added to their weights during reading.

The halves are small and stay in memory; of the weights, one at a time is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from inspire_fast.checkpoints.params.base import Shapes, StoredParams, is_lora
from inspire_fast.models.config import GemmaConfig
from inspire_fast.models.lora import ATTENTION, MLP, merged_weight, update_of
from inspire_fast.models.openpi.params import TABLE

_LAYERS = "language/layers"


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Parameters of a LoRA checkpoint with its updates added to the weights that they belong to.

    Attributes:
        lora: the checkpoint, base weights and halves.
        config: its language model: which weights have an update, and of what strength.

    Raises:
        ValueError: the network has no LoRA.
    """

    lora: StoredParams
    config: GemmaConfig

    def __post_init__(self) -> None:
        if not self.config.has_lora:
            raise ValueError(f"There is nothing to merge in {self.lora.origin}: its network has no LoRA.")

    @property
    def origin(self) -> str:
        """Path of the file or folder, for messages."""
        return self.lora.origin

    @property
    def leaves(self) -> Shapes:
        """Shape and dtype of every array, by path."""
        return {path: leaf for path, leaf in self.lora.leaves.items() if not is_lora(path)}

    def stream(
        self, dtype: jnp.dtype | None = None, paths: Collection[str] | None = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Reads arrays one by one. Updates are computed in float32, then rounded to `dtype` (or the weight's own)."""
        float32 = jnp.dtype(jnp.float32)
        wanted = [path for path in self.leaves if paths is None or path in paths]
        halves = dict(self.lora.stream(float32, [path for path in self.lora.leaves if is_lora(path)]))
        updated = {TABLE[f"{_LAYERS}/{weight}"]: weight for weight in (*ATTENTION, *MLP)}
        for path, array in self.lora.stream(dtype, [p for p in wanted if p not in updated]):
            yield path, array
        for path, array in self.lora.stream(float32, [p for p in wanted if p in updated]):
            own = dtype or self.leaves[path].dtype
            yield path, self._merge(updated[path], array, halves).astype(own, copy=False)

    def _merge(self, weight: str, array: np.ndarray, halves: dict[str, np.ndarray]) -> np.ndarray:
        update = update_of(self.config, weight)
        if update is None:
            return array
        a, b = (jnp.asarray(halves[TABLE[f"{_LAYERS}/lora/{weight}_{half}"]]) for half in "ab")
        route = (ATTENTION | MLP)[weight]
        merged = np.empty_like(array)
        for layer, parts in enumerate(zip(array, a, b, strict=True)):  # one by one: an update is as large as its weight
            one = merged_weight(*(jnp.asarray(part)[None] for part in parts), route=route, scale=update.scale)
            merged[layer] = np.asarray(one[0])
        return merged
