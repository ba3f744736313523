"""Pictures to the model's size."""

from __future__ import annotations

import numpy as np
from PIL import Image


def resize_with_pad(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes without distortion and centres the result on black.

    Bilinear with antialiasing (Pillow), bit-equal to `openpi_client.image_tools.resize_with_pad`; of an odd margin the
    larger half lies at the bottom or right.

    Args:
        images: uint8 `[..., h, w, c]` (RGB or RGBA), any leading dimensions.
        height: wanted height, px.
        width: wanted width, px.

    Returns:
        uint8 `[..., height, width, c]`; the input itself when it has that size.

    Raises:
        ValueError: not uint8, or fewer than three dimensions.
    """
    if images.dtype != np.uint8 or images.ndim < 3:
        raise ValueError(f"resize_with_pad needs uint8 [..., h, w, c]; got {images.dtype} {images.shape}.")
    h, w, channels = images.shape[-3:]
    if (h, w) == (height, width):
        return images
    scale = max(w / width, h / height)
    inner_h, inner_w = int(h / scale), int(w / scale)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    flat = images.reshape(-1, h, w, channels)
    out = np.zeros((len(flat), height, width, channels), np.uint8)
    for source, target in zip(flat, out, strict=True):
        resized = Image.fromarray(source).resize((inner_w, inner_h), Image.Resampling.BILINEAR)
        target[top : top + inner_h, left : left + inner_w] = np.asarray(resized)
    return out.reshape(*images.shape[:-3], height, width, channels)
