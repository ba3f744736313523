"""The pi0-FAST network: images and text in one sequence, actions as tokens (Pertsch et al. 2025, "FAST").

The sequence is `[camera 1 | camera 2 | ... | text]`, with cameras in sorted order of their names (openpi's pytree
order). Positions count from the first image token on. Images and the leading bidirectional text are attention block 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flax import nnx
from jax import Array
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Num

from inspire_fast.models.config import ModelConfig
from inspire_fast.models.gemma import Gemma
from inspire_fast.models.layers import attention_mask, image_to_float
from inspire_fast.models.siglip import Siglip


class Pi0Fast(nnx.Module):
    """The network as it is trained. Methods are pure; compile them at the caller, with the module as an argument."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.vision = Siglip(
            config.vision, image_hw=config.image_hw, out_dim=config.language.width, rngs=rngs, remat=config.remat
        )
        self.language = Gemma(config.language, vocab_size=config.vocab_size, remat=config.remat, rngs=rngs)

    @property
    def dtype(self) -> jnp.dtype:
        return jnp.dtype(self.config.dtype)

    def __call__(
        self,
        images: Mapping[str, Num[Array, "b h w 3"]],
        image_mask: Mapping[str, Bool[Array, " b"]],
        ids: Int[Array, "b l"],
        valid: Bool[Array, "b l"],
        block: Int[Array, "b l"],
    ) -> Float[Array, "b l width"]:
        """Teacher-forced pass: final-normed hidden states of the text. See `Batch` for the arguments."""
        return self.read(*self.sequence(images, image_mask, ids, valid, block))

    def read(
        self, x: Float[Array, "b s width"], valid: Bool[Array, "b s"], block: Int[Array, "b s"]
    ) -> Float[Array, "b l width"]:
        """Final-normed hidden states of the text, from what `sequence` gives."""
        return self.language(x, positions_of(x), attention_mask(block, valid))[:, self.config.image_tokens :]

    def logits(self, hidden: Float[Array, "... w"]) -> Float[Array, "... v"]:
        """float32 logits of the whole vocabulary from hidden states of `__call__`."""
        return self.language.logits(hidden)

    def sequence(
        self,
        images: Mapping[str, Num[Array, "b h w 3"]],
        image_mask: Mapping[str, Bool[Array, " b"]],
        ids: Int[Array, "b l"],
        valid: Bool[Array, "b l"],
        block: Int[Array, "b l"],
    ) -> tuple[Float[Array, "b s width"], Bool[Array, "b s"], Int[Array, "b s"]]:
        """The language model's input, images and text: embeddings, which tokens are real, attention blocks."""
        x = jnp.concatenate([self.embed_images(images), self.language.embed(ids, self.dtype)], axis=1)
        return x, *after_images(image_token_mask(image_mask, self.config), valid, block)

    def embed_images(self, images: Mapping[str, Num[Array, "b h w 3"]]) -> Float[Array, "b s width"]:
        """Tokens of all images, camera after camera; one call of the tower for all cameras.

        Args:
            images: uint8, or float in [-1, 1], by camera name.

        Raises:
            ValueError: cameras or image sizes are not the network's.
        """
        require_cameras(images, self.config)
        require_image_size(images, self.config)
        stacked = jnp.concatenate([image_to_float(images[name]) for name in sorted(images)])
        tokens = self.vision(stacked, self.dtype)
        # The tower's batch is [camera, row]; a row of the language model reads its cameras one after the other.
        cameras, batch = len(images), stacked.shape[0] // len(images)
        return tokens.reshape(cameras, batch, *tokens.shape[1:]).swapaxes(0, 1).reshape(batch, -1, tokens.shape[-1])


def require_cameras(given: Collection[str], config: ModelConfig) -> None:
    """Checks that images, or their masks, are of the network's cameras.

    Raises:
        ValueError: one is missing or unknown; lists both sides.
    """
    if set(given) != set(config.cameras):
        raise ValueError(f"The network's cameras are {sorted(config.cameras)}; got {sorted(given)}.")


def require_image_size(images: Mapping[str, Num[Array, "b h w 3"]], config: ModelConfig) -> None:
    """Checks that images have the network's size.

    Raises:
        ValueError: names the first image that has another size.
    """
    for name, image in images.items():
        if image.shape[1:] != (*config.image_hw, 3):
            raise ValueError(
                f"Image {name!r} is {image.shape}; the network sees [b, {', '.join(map(str, config.image_hw))}, 3]. "
                "Resize with padding first."
            )


def image_token_mask(image_mask: Mapping[str, Bool[Array, " b"]], config: ModelConfig) -> Bool[Array, "b s"]:
    """True on the tokens of cameras that show something, in the order of the sequence.

    For cameras a (shown) and b (masked) of two tokens each: 1 1 0 0.

    Raises:
        ValueError: masks are not of the network's cameras.
    """
    require_cameras(image_mask, config)
    by_camera = jnp.stack([image_mask[name] for name in sorted(image_mask)], axis=1)
    return jnp.repeat(by_camera, config.tokens_per_image, axis=1)


def after_images(
    shown: Bool[Array, "b i"], valid: Bool[Array, "b l"], block: Int[Array, "b l"]
) -> tuple[Bool[Array, "b s"], Int[Array, "b s"]]:
    """Real tokens and attention blocks of the whole sequence: images in block 0, then the text."""
    blocks = jnp.concatenate([jnp.zeros(shown.shape, block.dtype), block], axis=1)
    return jnp.concatenate([shown, valid], axis=1), blocks


def positions_of(x: Float[Array, "b s w"]) -> Int[Array, "b s"]:
    """Positions 0, 1, 2, ... of every row; a masked camera's tokens count."""
    return jnp.broadcast_to(jnp.arange(x.shape[1])[None], x.shape[:2])
