"""Pictures on the device, as openpi's model reads them: floats in [-1, 1] at the network's size. Compile at the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from inspire_fast.data.images import fitted_size


def to_float(images: jax.Array) -> jax.Array:
    """uint8 0..255 -> float32 in [-1, 1]; floats pass as float32.

    Raises:
        ValueError: another type: what its range is would be a guess.
    """
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255.0 * 2.0 - 1.0
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"A picture is uint8, or float in [-1, 1]; got {images.dtype} {images.shape}.")
    return images.astype(jnp.float32)


def resize_with_pad(images: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes without distortion and centres the result on black: the on-device twin of `images.resize_with_pad`.

    Linear with antialiasing (`jax.image`), as `openpi.shared.image_tools.resize_with_pad`; it differs from Pillow's by one
    step of uint8 at most.

    Args:
        images: `[..., h, w, c]`, uint8 or float in [-1, 1]. Black is 0 or -1.
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
    h, w, c = images.shape[-3:]
    if (h, w) == (height, width):
        return images
    inner_h, inner_w = fitted_size(h, w, height, width)
    lead = images.shape[:-3]
    resized = jax.image.resize(images.astype(jnp.float32), (*lead, inner_h, inner_w, c), "linear")
    low, high = (0.0, 255.0) if is_uint8 else (-1.0, 1.0)
    resized = jnp.clip(jnp.round(resized) if is_uint8 else resized, low, high).astype(images.dtype)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    margins = [(0, 0)] * len(lead) + [(top, height - inner_h - top), (left, width - inner_w - left), (0, 0)]
    return jnp.pad(resized, margins, constant_values=0 if is_uint8 else -1)


def preprocess(
    image: Mapping[str, Any],
    image_mask: Mapping[str, Any] | None = None,
    *,
    cameras: Sequence[str],
    image_hw: tuple[int, int] = (224, 224),
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """What openpi's `Observation.from_dict` and `preprocess_observation` do to the cameras outside of training.

    Args:
        image: camera -> uint8, or float in [-1, 1], `[b, h, w, 3]`; further cameras are left out.
        image_mask: camera -> bool `[b]`; a camera without one is shown.
        cameras: of the network.
        image_hw: of the network, px.

    Returns:
        Pictures, float32 in [-1, 1] `[b, *image_hw, 3]`, and masks, bool `[b]`, of every camera.

    Raises:
        ValueError: a camera is missing, or its picture is of another type or shape.
    """
    if missing := sorted(set(cameras) - set(image)):
        raise ValueError(
            f"The network needs the cameras {sorted(cameras)}; {missing} are missing from {sorted(image)}."
        )
    images = {camera: resize_with_pad(to_float(jnp.asarray(image[camera])), *image_hw) for camera in cameras}
    masks = {
        camera: jnp.asarray((image_mask or {}).get(camera, jnp.ones(images[camera].shape[0], bool)))
        for camera in cameras
    }
    return images, masks
