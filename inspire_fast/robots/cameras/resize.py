"""Resizing of images to the model's size, with padding."""

from __future__ import annotations

import numpy as np
from PIL import Image


def fitted_size(h: int, w: int, height: int, width: int) -> tuple[int, int]:
    """Height and width, px, of an image `[h, w]` made to fit into `[height, width]` without distortion, rounded down.

    Raises:
        ValueError: the image is empty, or so narrow that less than a pixel of a side would remain.
    """
    scale = max(w / width, h / height)
    inner = (int(h / scale), int(w / scale)) if scale else (0, 0)
    if not min(inner):
        raise ValueError(
            f"An image of {h} x {w} px in {height} x {width} px without distortion would have {inner[0]} x {inner[1]} "
            "px: nothing is left of it. Check the camera, or crop the image."
        )
    return inner


def resize_with_pad(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes without distortion and centres the result on black.

    Bilinear with antialiasing (Pillow), bit-equal to `openpi_client.image_tools.resize_with_pad`. An odd margin has its
    larger half at the bottom or right.

    Args:
        images: uint8 `[..., h, w, c]` (RGB or RGBA), any leading dimensions.
        height: wanted height, px.
        width: wanted width, px.

    Returns:
        uint8 `[..., height, width, c]`; the input itself when it has that size.

    Raises:
        ValueError: not uint8, fewer than three dimensions, no pixels, or so narrow that nothing would remain.
    """
    if images.dtype != np.uint8 or images.ndim < 3:
        raise ValueError(f"resize_with_pad needs uint8 [..., h, w, c]; got {images.dtype} {images.shape}.")
    h, w, channels = images.shape[-3:]
    if (h, w) == (height, width):
        return images
    inner_h, inner_w = fitted_size(h, w, height, width)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    flat = images.reshape(-1, h, w, channels)
    out = np.zeros((len(flat), height, width, channels), np.uint8)
    for source, target in zip(flat, out, strict=True):
        resized = Image.fromarray(source).resize((inner_w, inner_h), Image.Resampling.BILINEAR)
        target[top : top + inner_h, left : left + inner_w] = np.asarray(resized)
    return out.reshape(*images.shape[:-3], height, width, channels)
