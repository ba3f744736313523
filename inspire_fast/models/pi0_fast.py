"""The pi0-FAST network: images and text in one sequence, actions as tokens (Pertsch et al. 2025, "FAST").

`models/sequence.py` describes the order of the sequence.
"""

from __future__ import annotations

from flax import nnx
from jax import Array
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from inspire_fast.models import sequence
from inspire_fast.models.config import ModelConfig
from inspire_fast.models.gemma import Gemma
from inspire_fast.models.head import Scores, scores
from inspire_fast.models.layers import attention_mask, image_to_float
from inspire_fast.models.placement import place
from inspire_fast.models.sequence import ImageMask, Images
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
        images: Images,
        image_mask: ImageMask,
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
        return self.language(x, sequence.positions_of(x), attention_mask(block, valid))[:, self.config.image_tokens :]

    def logits(self, hidden: Float[Array, "... w"]) -> Float[Array, "... v"]:
        """float32 logits of the whole vocabulary from hidden states of `__call__`."""
        return self.language.logits(hidden)

    def scores(self, hidden: Float[Array, "b k w"], targets: Int[Array, "b k"]) -> Scores:
        """What a loss needs of the logits of `hidden`; see `head.scores`."""
        return scores(hidden, self.language.embedding[...], targets)

    def sequence(
        self,
        images: Images,
        image_mask: ImageMask,
        ids: Int[Array, "b l"],
        valid: Bool[Array, "b l"],
        block: Int[Array, "b l"],
    ) -> tuple[Float[Array, "b s width"], Bool[Array, "b s"], Int[Array, "b s"]]:
        """The language model's input, images and text: embeddings, which tokens are real, attention blocks."""
        text = place(self.language.embed(ids, self.dtype), "batch")
        x = place(jnp.concatenate([self.embed_images(images), text], axis=1), "batch")
        return x, *sequence.after_images(sequence.image_token_mask(image_mask, self.config), valid, block)

    def embed_images(self, images: Images) -> Float[Array, "b s width"]:
        """Tokens of all images, camera after camera; one call of the tower for all cameras.

        Args:
            images: uint8, or float in [-1, 1], by camera name.

        Raises:
            ValueError: cameras or image sizes are not the network's.
        """
        sequence.require_cameras(images, self.config)
        sequence.require_image_size(images, self.config)
        # The tower's batch is [row, camera], so that no row changes its device.
        stacked = jnp.stack([image_to_float(images[name]) for name in sorted(images)], axis=1)
        tokens = self.vision(stacked.reshape(-1, *stacked.shape[2:]), self.dtype)
        return tokens.reshape(stacked.shape[0], -1, tokens.shape[-1])


def abstract_model(config: ModelConfig) -> Pi0Fast:
    """The network with shapes in place of parameters."""
    return nnx.eval_shape(lambda: Pi0Fast(config, rngs=nnx.Rngs(0)))
