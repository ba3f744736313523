"""Network on paper: in place of attention, a sum modulo a prime of all that a token sees, looked up in a table.

It reads what `InferenceModel` reads, by the same masks and places, and forgets nothing: another id, place, image or
mask anywhere gives other scores. Its programs compile in about a second, so tests of the decoder can try many cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.core.types import TokenSequence
from inspire_fast.models import sequence
from inspire_fast.models.config import ModelConfig
from inspire_fast.models.inference.cache import KVCache
from inspire_fast.models.inference.model import pick
from inspire_fast.models.layers import attention_mask, cache_mask

PRIME, WIDTH = 4093, 16


def weight_of(place):
    """How much an id at a place counts."""
    return (place * place * 31 + place * 17 + 5) % PRIME


@partial(jax.tree_util.register_dataclass, data_fields=["table", "embedding"], meta_fields=["config"])
@dataclass(frozen=True, kw_only=True, eq=False)
class PaperNetwork:
    """Stands in for an `InferenceModel`; `table` is `[PRIME, WIDTH]`, `embedding` `[vocabulary, WIDTH]`."""

    config: ModelConfig
    table: jax.Array
    embedding: jax.Array

    @classmethod
    def of(cls, config: ModelConfig, seed: int = 0) -> PaperNetwork:
        rng = np.random.default_rng(seed)
        sizes = {"table": PRIME, "embedding": config.vocab_size}
        drawn = {name: jnp.asarray(rng.normal(size=(size, WIDTH)), jnp.float32) for name, size in sizes.items()}
        return cls(config=config, **drawn)

    def embed_images(self, images):
        sequence.require_image_size(images, self.config)
        parts = {name: image.reshape(len(image), self.config.tokens_per_image, -1) for name, image in images.items()}
        return {name: (part.astype(jnp.int32).sum(axis=-1) % PRIME)[..., None] for name, part in parts.items()}

    def prefill(self, image_tokens, image_mask, ids, lengths, block, capacity, wanted=None):
        sequence.require_cameras(image_tokens, self.config)
        assert capacity >= ids.shape[1]
        assert wanted is not None
        seen = jnp.concatenate([*(image_tokens[name][..., 0] for name in sorted(image_tokens)), ids], axis=1)
        shown = sequence.image_token_mask(image_mask, self.config)
        places = jnp.arange(ids.shape[1])[None]
        valid, blocks = sequence.after_images(shown, places < lengths[:, None], block)
        hidden = self._hidden(seen, jnp.arange(seen.shape[1]), attention_mask(blocks, valid), seen)
        k = (seen[..., None].astype(jnp.float32),)
        cache = KVCache.of_prompt(k, k, shown=shown, lengths=lengths, capacity=capacity)
        return pick(hidden, shown.shape[1] + wanted), cache

    def extend(self, cache, ids, lengths, attends_to=None, wanted=None):
        positions = cache.length[:, None] + jnp.arange(ids.shape[1])[None]
        k = cache.k[0].at[jnp.arange(len(ids))[:, None], positions, 0].set(ids.astype(jnp.float32), mode="drop")
        mask = cache_mask(positions if attends_to is None else attends_to, cache.valid)
        hidden = self._hidden(k[..., 0].astype(jnp.int32), positions, mask, ids)
        grown = KVCache(k=(k,), v=(k,), valid=cache.valid, length=cache.length + lengths)
        return hidden if wanted is None else pick(hidden, wanted), grown

    def head(self, ids):
        return self.embedding[ids]

    def _hidden(self, seen, positions, mask, own):
        terms = weight_of(jnp.arange(seen.shape[1])) * (seen % PRIME + 1) % PRIME  # [b, s]
        total = jnp.where(mask, terms[:, None], 0).sum(axis=-1)
        return self.table[(total + 7 * positions + 13 * own) % PRIME]

    def scores(self, images: Mapping[str, np.ndarray], shown: Mapping[str, bool], tokens: TokenSequence) -> np.ndarray:
        """Teacher-forced logits `[tokens, vocabulary]` of one row, its images `[h, w, 3]`; by hand, in NumPy."""
        parts, valid = list[np.ndarray](), list[bool]()
        for name in sorted(self.config.cameras):
            pixels = images[name].reshape(self.config.tokens_per_image, -1).astype(np.int64)
            parts.append(pixels.sum(axis=1) % PRIME)
            valid += [shown[name]] * self.config.tokens_per_image
        before, ids = len(valid), np.concatenate([*parts, tokens.ids]).astype(np.int64)
        block = np.concatenate([np.zeros(before, int), tokens.block])
        seen = np.array(valid + [True] * len(tokens))
        found = []
        for place in range(before, len(ids)):
            at = np.flatnonzero(seen & (block <= block[place]))
            found.append((weight_of(at) * (ids[at] + 1)).sum() + 7 * place + 13 * ids[place])
        return np.asarray(self.table)[np.array(found) % PRIME] @ np.asarray(self.embedding).T
