"""openpi's resizing of images on the device, for images that reach the network at another size."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from inspire_fast.data.images import fitted_size


def resize_with_pad(images: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes without distortion and centres the result on black: the on-device twin of `images.resize_with_pad`.

    Linear with antialiasing (`jax.image`), as `openpi.shared.image_tools.resize_with_pad`; it differs from Pillow by
    one step of uint8. Compile at the caller.

    Args:
        images: `[..., h, w, c]`, uint8 or float32 in [-1, 1]. Black is 0 or -1.
        height: wanted height, px.
        width: wanted width, px.

    Returns:
        `[..., height, width, c]` of the same type; floats are clipped to [-1, 1].

    Raises:
        ValueError: another type, fewer than three dimensions, or as of `fitted_size`.
    """
    is_uint8 = images.dtype == jnp.uint8
    if images.ndim < 3 or not (is_uint8 or images.dtype == jnp.float32):
        raise ValueError(f"resize_with_pad needs uint8 or float32 [..., h, w, c]; got {images.dtype} {images.shape}.")
    *lead, h, w, c = images.shape
    inner_h, inner_w = fitted_size(h, w, height, width)
    resized = jax.image.resize(images.astype(jnp.float32), (*lead, inner_h, inner_w, c), "linear")
    low, high = (0.0, 255.0) if is_uint8 else (-1.0, 1.0)
    resized = jnp.clip(jnp.round(resized) if is_uint8 else resized, low, high).astype(images.dtype)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    margins = [(0, 0)] * len(lead) + [(top, height - inner_h - top), (left, width - inner_w - left), (0, 0)]
    return jnp.pad(resized, margins, constant_values=0 if is_uint8 else -1)
