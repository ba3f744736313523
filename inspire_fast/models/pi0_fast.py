"""pi0-FAST: images and text in one sequence, actions as tokens. Training pass, and cached decoding that agrees with it.

The sequence is `[camera 1 | camera 2 | ... | text]`, cameras in sorted order of their names (openpi's pytree order), text
positions counted on behind the images. Images and the leading bidirectional text are block 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from flax import nnx
import jax
import jax.numpy as jnp

from inspire_fast.models.config import ModelConfig
from inspire_fast.models.gemma import Gemma, KVCache
from inspire_fast.models.layers import attention_mask
from inspire_fast.models.siglip import Siglip


class Pi0Fast(nnx.Module):
    """The network. Methods are pure; compile them at the caller (`jax.jit` takes the module as a pytree)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.vision = Siglip(
            config.vision, image_hw=config.image_hw, out_dim=config.language.width, rngs=rngs, remat=config.remat
        )
        self.language = Gemma(config.language, vocab_size=config.vocab_size, remat=config.remat, rngs=rngs)

    @property
    def dtype(self) -> jnp.dtype:
        return jnp.dtype(self.config.dtype)

    def embed_images(self, images: Mapping[str, jax.Array]) -> jax.Array:
        """uint8, or float in [-1, 1], `[b, h, w, 3]` per camera -> tokens `[b, image_tokens, w]`; one call for all cameras."""
        missing = set(self.config.cameras) ^ set(images)
        if missing:
            raise ValueError(f"Cameras do not match the network's {sorted(self.config.cameras)}: got {sorted(images)}.")
        for name, image in images.items():
            if image.shape[1:] != (*self.config.image_hw, 3):
                raise ValueError(
                    f"Image {name!r} is {image.shape}; the network sees [b, {self.config.image_hw[0]}, "
                    f"{self.config.image_hw[1]}, 3]. Resize with padding first."
                )
        stacked = jnp.concatenate([_to_float(images[name]) for name in sorted(images)])
        tokens = self.vision(stacked, self.dtype)
        cameras, batch = len(images), stacked.shape[0] // len(images)
        return tokens.reshape(cameras, batch, *tokens.shape[1:]).swapaxes(0, 1).reshape(batch, -1, tokens.shape[-1])

    def image_valid(self, image_mask: Mapping[str, jax.Array]) -> jax.Array:
        """bool `[b]` per camera -> bool `[b, image_tokens]`."""
        if set(image_mask) != set(self.config.cameras):
            raise ValueError(
                f"Image masks {sorted(image_mask)} do not match the cameras {sorted(self.config.cameras)}."
            )
        columns = [image_mask[name][:, None] for name in sorted(image_mask)]
        return jnp.repeat(jnp.concatenate(columns, axis=1), self.config.tokens_per_image, axis=1)

    def __call__(
        self,
        images: Mapping[str, jax.Array],
        image_mask: Mapping[str, jax.Array],
        ids: jax.Array,
        valid: jax.Array,
        block: jax.Array,
    ) -> jax.Array:
        """Teacher-forced pass: hidden states of the text, final-normed, `[b, l, w]`; see `Batch` for the arguments."""
        hidden, _, _ = self._full(images, image_mask, ids, valid, block)
        return hidden[:, self.config.image_tokens :]

    def prefill(
        self,
        images: Mapping[str, jax.Array],
        image_mask: Mapping[str, jax.Array],
        ids: jax.Array,
        lengths: jax.Array,
        block: jax.Array,
        capacity: int,
    ) -> tuple[jax.Array, KVCache]:
        """Reads images and the dialogue's beginning.

        Args:
            images: see `embed_images`.
            image_mask: bool `[b]` per camera.
            ids: int `[b, l]`, padded behind.
            lengths: int `[b]`, real tokens per row.
            block: int `[b, l]`, see `TokenSequence.block`.
            capacity: text tokens that the cache can hold in all, at least `l`.

        Returns:
            Hidden states of the text `[b, l, w]` (the last real one of a row predicts its next token), and the cache.
        """
        if capacity < ids.shape[1]:
            raise ValueError(f"A cache for {capacity} text tokens cannot take a prompt padded to {ids.shape[1]}.")
        valid = jnp.arange(ids.shape[1])[None] < lengths[:, None]
        hidden, k, v = self._full(images, image_mask, ids, valid, block)
        room = [(0, 0), (0, 0), (0, capacity - ids.shape[1]), (0, 0), (0, 0)]
        slots = jnp.concatenate([self.image_valid(image_mask), jnp.ones((ids.shape[0], capacity), bool)], axis=1)
        cache = KVCache(k=jnp.pad(k, room), v=jnp.pad(v, room), valid=slots, length=self.config.image_tokens + lengths)
        return hidden[:, self.config.image_tokens :], cache

    def extend(
        self, cache: KVCache, ids: jax.Array, lengths: jax.Array, attends_to: jax.Array | None = None
    ) -> tuple[jax.Array, KVCache]:
        """Reads several further tokens at once: ids `[b, m]`, of which row `i` has `lengths[i]`.

        `attends_to` int `[b, m]` is the last position each token sees; None is causal. See `Gemma.extend`.
        """
        if attends_to is None:
            attends_to = cache.length[:, None] + jnp.arange(ids.shape[1])[None]
        return self.language.extend(self.language.embed(ids, self.dtype), cache, attends_to, lengths)

    def logits(self, hidden: jax.Array, ids: jax.Array | None = None) -> jax.Array:
        """See `Gemma.logits`."""
        return self.language.logits(hidden, ids)

    def sequence(
        self,
        images: Mapping[str, jax.Array],
        image_mask: Mapping[str, jax.Array],
        ids: jax.Array,
        valid: jax.Array,
        block: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What the language model reads: embeddings `[b, s, w]`, bool `[b, s]` real tokens, int `[b, s]` attention blocks."""
        x = jnp.concatenate([self.embed_images(images), self.language.embed(ids, self.dtype)], axis=1)
        image_valid = self.image_valid(image_mask)
        blocks = jnp.concatenate([jnp.zeros(image_valid.shape, block.dtype), block], axis=1)
        return x, jnp.concatenate([image_valid, valid], axis=1), blocks

    def _full(
        self,
        images: Mapping[str, jax.Array],
        image_mask: Mapping[str, jax.Array],
        ids: jax.Array,
        valid: jax.Array,
        block: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, valid, block = self.sequence(images, image_mask, ids, valid, block)
        return self.language(x, positions_of(x), attention_mask(block, valid))


def positions_of(x: jax.Array) -> jax.Array:
    """int `[b, s]`: every token of `x [b, s, w]` stands where it lies, also behind a masked camera."""
    return jnp.broadcast_to(jnp.arange(x.shape[1])[None], x.shape[:2])


def _to_float(image: jax.Array) -> jax.Array:
    """uint8 0..255 -> float32 [-1, 1]; floats pass."""
    return image.astype(jnp.float32) / 255.0 * 2.0 - 1.0 if image.dtype == jnp.uint8 else image
