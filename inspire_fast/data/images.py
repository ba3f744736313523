"""Resizing of images to the model's size, and points in resized images."""

from __future__ import annotations

import numpy as np

from inspire_fast.robots.cameras.resize import fitted_size, resize_with_pad

__all__ = ["fitted_size", "padded_point", "resize_with_pad", "shrink"]


def shrink(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrinks to a size, distorting if need be; a pixel is the mean of the area that it covers.

    OpenCV's `INTER_AREA`, up to rounding: the way in which clients of SimplerEnv make pictures square.

    Args:
        images: uint8 `[..., h, w, c]`, any leading dimensions.
        height: wanted height, px, at most `h`.
        width: wanted width, px, at most `w`.

    Returns:
        uint8 `[..., height, width, c]`; the input itself when it has that size.

    Raises:
        ValueError: not uint8, fewer than three dimensions, or smaller than wanted.
    """
    if images.dtype != np.uint8 or images.ndim < 3:
        raise ValueError(f"shrink needs uint8 [..., h, w, c]; got {images.dtype} {images.shape}.")
    h, w = images.shape[-3:-1]
    if (h, w) == (height, width):
        return images
    if h < height or w < width:
        raise ValueError(
            f"shrink makes pictures smaller; got {h} x {w} px for {height} x {width} px. Pad them instead."
        )
    rows, columns, channels = _covered(h, height), _covered(w, width), images.shape[-1]
    flat = images.reshape(-1, h, w, channels)
    out = np.empty((len(flat), height, width, channels), np.uint8)
    for source, target in zip(flat, out, strict=True):  # one by one: a picture's result must not depend on its company
        lines = (rows @ source.reshape(h, -1).astype(np.float32)).reshape(height, w, channels)
        target[:] = np.floor(columns @ lines + 0.5)
    return out.reshape(*images.shape[:-3], height, width, channels)


def _covered(size: int, wanted: int) -> np.ndarray:
    """Share of each of `size` old pixels in each of `wanted` new ones, float32 `[wanted, size]`; rows sum to 1."""
    edges = np.arange(wanted + 1)[:, None] * (size / wanted)
    old = np.arange(size)[None]
    overlap = np.minimum(edges[1:], old + 1) - np.maximum(edges[:-1], old)
    return (np.maximum(overlap, 0) * (wanted / size)).astype(np.float32)


def padded_point(
    point: tuple[float, float], source_hw: tuple[int, int], padded_hw: tuple[int, int]
) -> tuple[float, float]:
    """A point after `resize_with_pad`: `(y, x)` as fractions of the given image -> fractions of the result."""
    inner = fitted_size(*source_hw, *padded_hw)
    y, x = (((whole - part) // 2 + at * part) / whole for at, part, whole in zip(point, inner, padded_hw, strict=True))
    return y, x
