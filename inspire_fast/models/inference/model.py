"""Cached decoding: the same function as `Pi0Fast`, with its weights laid out to be read once per token and no more.

Decoding is bound by reading weights. Three things in the trainable layout cost extra reads: layers stacked on one axis
are copied out of the stack, weights of more than two axes are transposed before each product, and float32 masters are
twice as long as need be. Here every weight is a matrix of its own with the contracted axis last, in the dtype that was
asked for, with LoRA merged. Norms are computed in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Num

from inspire_fast.models import sequence
from inspire_fast.models.config import ModelConfig
from inspire_fast.models.inference.cache import KVCache
from inspire_fast.models.inference.kernels import Implementation, attend_heads, by_head, fused
from inspire_fast.models.inference.weights import DecoderLayer, LanguageWeights, product
from inspire_fast.models.layers import attention_mask, cache_mask, image_to_float, rms_norm, rope
from inspire_fast.models.sequence import ImageMask, Images
from inspire_fast.models.siglip import Siglip


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["vision", "language"],
    meta_fields=["config", "dtype", "attention"],
)
@dataclass(frozen=True, kw_only=True, eq=False)
class InferenceModel:
    """`Pi0Fast` for decoding; a pytree. `inference.build.build` makes one from a trained network.

    Example:
        model = build(network)
        tokens = model.embed_images(images)
        hidden, cache = model.prefill(tokens, image_mask, ids, lengths, block, capacity=64)
        hidden, cache = model.extend(cache, next_ids, next_lengths)
        scores = logits(hidden, model.head(allowed_ids))

    Attributes:
        config: the architecture, without LoRA.
        dtype: of activations.
        attention: the kernel for whole sequences.
        vision: the image tower.
        language: weights of the language model.
    """

    config: ModelConfig
    dtype: jnp.dtype
    attention: Implementation
    vision: Siglip
    language: LanguageWeights

    def embed_images(self, images: Images) -> dict[str, Float[Array, "b s width"]]:
        """Tokens of each camera's images (uint8, or float in [-1, 1]); one call of the tower for all cameras.

        Raises:
            ValueError: an image has another size than the network's.
        """
        names = sorted(images)
        if not names:
            return {}
        sequence.require_image_size(images, self.config)
        stacked = image_to_float(jnp.concatenate([images[name] for name in names]))
        tokens = jnp.split(self.vision(stacked, self.dtype), len(names))
        return dict(zip(names, tokens, strict=True))

    def prefill(
        self,
        image_tokens: Mapping[str, Float[Array, "b s width"]],
        image_mask: ImageMask,
        ids: Int[Array, "b l"],
        lengths: Int[Array, " b"],
        block: Int[Array, "b l"],
        capacity: int,
        wanted: Int[Array, "b k"] | None = None,
    ) -> tuple[Float[Array, "b k width"], KVCache]:
        """Reads images and the beginning of the dialogue.

        Args:
            image_tokens: as `embed_images` makes them, of every camera of the network.
            image_mask: False where a camera shows nothing.
            ids: the text, padded at the end.
            lengths: real tokens of each row.
            block: attention blocks, see `TokenSequence.block`.
            capacity: text tokens that the cache can hold in all, at least `l`.
            wanted: places in the text whose hidden states are returned; None is all of them. The last layer is computed
                for these alone.

        Returns:
            Final-normed hidden states (that of a row's last real token predicts its next one), and the cache.

        Raises:
            ValueError: cameras are not the network's, or the capacity is too small.
        """
        sequence.require_cameras(image_tokens, self.config)
        if capacity < ids.shape[1]:
            raise ValueError(f"A cache for {capacity} text tokens cannot take a prompt padded to {ids.shape[1]}.")
        x = jnp.concatenate([*(image_tokens[name] for name in sorted(image_tokens)), self.embed(ids)], axis=1)
        shown, places = sequence.image_token_mask(image_mask, self.config), jnp.arange(ids.shape[1])[None]
        valid, blocks = sequence.after_images(shown, places < lengths[:, None], block)
        wanted = jnp.broadcast_to(places, ids.shape) if wanted is None else wanted
        hidden, k, v = self._read(x, attention_mask(blocks, valid), wanted=shown.shape[1] + wanted)
        return hidden, KVCache.of_prompt(k, v, shown=shown, lengths=lengths, capacity=capacity)

    def _read(
        self, x: Float[Array, "b s w"], mask: Bool[Array, "b s s"], *, wanted: Int[Array, "b k"]
    ) -> tuple[Float[Array, "b k w"], list[Float[Array, "bg s h"]], list[Float[Array, "bg s h"]]]:
        """A whole sequence through all layers: hidden states of the wanted places, keys and values of every layer."""
        positions = sequence.positions_of(x)
        all_k, all_v = [], []
        for layer in self.language.layers:
            q, k, v = self._project(x, layer, positions)
            all_k.append(by_head(k))
            all_v.append(by_head(v))
            if layer is self.language.layers[-1]:  # a few queries, for which attention is bound by reading keys
                x, q, mask = (pick(one, wanted) for one in (x, q, mask))
                attended = attend_heads(q, all_k[-1], all_v[-1], mask)
            elif self.attention == "cudnn":
                attended = fused(q, k, v, mask, implementation="cudnn")
            else:
                attended = attend_heads(q, all_k[-1], all_v[-1], mask)
            x = self._finish(x, layer, attended)
        return self._normed(x), all_k, all_v

    def extend(
        self,
        cache: KVCache,
        ids: Int[Array, "b m"],
        lengths: Int[Array, " b"],
        attends_to: Int[Array, "b m"] | None = None,
        wanted: Int[Array, "b k"] | None = None,
    ) -> tuple[Float[Array, "b k width"], KVCache]:
        """Reads several further tokens at once.

        Args:
            cache: what the rows have read.
            ids: a chunk per row; what comes after its `lengths` is ignored.
            lengths: real tokens of each row's chunk, 0 to `m`.
            attends_to: the last position that each token sees, see `cache_mask`; None is its own (causal).
            wanted: places in the chunk whose hidden states are returned, as in `prefill`.

        Returns:
            Final-normed hidden states (meaningless after `lengths`), and the cache with the tokens added.
        """
        x = self.embed(ids)
        positions = cache.length[:, None] + jnp.arange(ids.shape[1])[None]  # [b, m]
        mask = cache_mask(positions if attends_to is None else attends_to, cache.valid)
        # Slots of the chunk's keys: their positions, the same for all heads of a row (the cache's first axis is b g).
        slots = jnp.repeat(positions, self.config.language.kv_heads, axis=0)  # [b g, m]
        rows = jnp.arange(len(slots))[:, None]
        all_k, all_v = [], []
        for layer, old_k, old_v in zip(self.language.layers, cache.k, cache.v, strict=True):
            q, k, v = self._project(x, layer, positions)
            # Padding of a chunk may point beyond the cache: "drop" leaves it out.
            all_k.append(old_k.at[rows, slots].set(by_head(k), mode="drop", unique_indices=True))
            all_v.append(old_v.at[rows, slots].set(by_head(v), mode="drop", unique_indices=True))
            if wanted is not None and layer is self.language.layers[-1]:
                x, q, mask = (pick(one, wanted) for one in (x, q, mask))
            x = self._finish(x, layer, attend_heads(q, all_k[-1], all_v[-1], mask))
        grown = KVCache(k=tuple(all_k), v=tuple(all_v), valid=cache.valid, length=cache.length + lengths)
        return self._normed(x), grown

    def embed(self, ids: Int[Array, "b l"]) -> Float[Array, "b l width"]:
        """Embeddings of ids, scaled by the root of the width."""
        width = self.config.language.width
        # A forced id of -1 (nothing) reads the first row; its result is never used.
        rows = self.language.embedding.rows(jnp.maximum(ids, 0).reshape(-1)).dense(self.dtype)
        return rows.reshape(*ids.shape, width) * jnp.asarray(width**0.5, self.dtype)

    def head(self, ids: Int[Array, "..."]) -> Float[Array, "... width"]:
        """The rows of the tied embedding that `logits` needs for the given ids."""
        return self.language.embedding.rows(ids.reshape(-1)).dense(self.dtype).reshape(*ids.shape, -1)

    def _normed(self, x: Float[Array, "... w"]) -> Float[Array, "... w"]:
        return rms_norm(x, self.language.final_norm, self.config.language.norm_eps)

    def _project(
        self, x: Float[Array, "b l w"], layer: DecoderLayer, positions: Int[Array, "b l"]
    ) -> tuple[Float[Array, "b l n h"], Float[Array, "b l g h"], Float[Array, "b l g h"]]:
        """As `block.project`, with one product for all heads."""
        config = self.config.language
        n, g, h = config.heads, config.kv_heads, config.head_dim
        y = layer.qkv(rms_norm(x, layer.norm_attention, config.norm_eps)).reshape(*x.shape[:2], n + 2 * g, h)
        q, k, v = jnp.split(y, [n, n + g], axis=2)
        return rope(q, positions) * h**-0.5, rope(k, positions), v

    def _finish(
        self, x: Float[Array, "b l w"], layer: DecoderLayer, attended: Float[Array, "b l n h"]
    ) -> Float[Array, "b l w"]:
        """As `block.finish`."""
        x = x + layer.out(attended.reshape(*x.shape[:2], -1))
        gate, up = jnp.split(layer.gate_up(rms_norm(x, layer.norm_mlp, self.config.language.norm_eps)), 2, axis=-1)
        return x + layer.down(jax.nn.gelu(gate, approximate=True) * up)


def logits(hidden: Float[Array, "... w"], head: Float[Array, "k w"]) -> Float[Array, "... k"]:
    """float32 logits of the ids whose rows `InferenceModel.head` gave."""
    return product(hidden, head)


def pick(x: Num[Array, "b m *rest"] | Bool[Array, "b m *rest"], places: Int[Array, "b k"]) -> Array:
    """Entries `[b, k, ...]` at each row's own places on the second axis; places beyond either end become the end."""
    index = jnp.clip(places, 0, x.shape[1] - 1).reshape(*places.shape, *(1,) * (x.ndim - 2))
    return jnp.take_along_axis(x, index, axis=1)
