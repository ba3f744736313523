"""The network's input sequence: `[camera 1 | camera 2 | ... | text]`.

Cameras are in sorted order of their names (openpi's pytree order). Positions count from the first image token on.
Images and the leading bidirectional text are attention block 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from jax import Array
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Num

from inspire_fast.models.config import ModelConfig

Images = Mapping[str, Num[Array, "b h w 3"]]
"""uint8, or float in [-1, 1], by camera name."""
ImageMask = Mapping[str, Bool[Array, " b"]]
"""False where a camera shows nothing, by camera name."""


def require_cameras(given: Collection[str], config: ModelConfig) -> None:
    """Checks that images, or their masks, are of the network's cameras.

    Raises:
        ValueError: one is missing or unknown; lists both sides.
    """
    if set(given) != set(config.cameras):
        raise ValueError(f"The network's cameras are {sorted(config.cameras)}; got {sorted(given)}.")


def require_image_size(images: Images, config: ModelConfig) -> None:
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


def image_token_mask(image_mask: ImageMask, config: ModelConfig) -> Bool[Array, "b s"]:
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
