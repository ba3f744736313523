"""Conversion of camera images, as robots and datasets deliver them, to the package's own form: uint8 `[h, w, 3]`."""

from __future__ import annotations

from typing import Literal

import numpy as np

Layout = Literal["hwc", "chw"]


ROUNDING = 1e-3
"""How far floats may be outside [0, 1]: more than float16 rounds by, a quarter of a grey level."""


def convert_to_uint8(image: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] -> uint8 `(255 * x)`, truncated (openpi's convention); uint8 passes unchanged.

    What rounding has moved out of [0, 1] (1.0000001 after a resize) is clipped.

    Raises:
        ValueError: another type, or floats outside [0, 1] (NaN included): 0..255 and [-1, 1] are not guessed.
    """
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"an image is uint8, or float in [0, 1]; got {image.dtype}")
    low, high = (float(image.min()), float(image.max())) if image.size else (0.0, 0.0)  # a batch may be empty
    if not (low >= -ROUNDING and high <= 1.0 + ROUNDING):
        raise ValueError(
            f"a float image must be in [0, 1]; got {low:.7g} .. {high:.7g}. Send uint8, or scale and clip it"
        )
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)


def parse_image(image: object, layout: Layout = "hwc") -> np.ndarray:
    """One RGB image as uint8 `[h, w, 3]`; the input is not changed.

    Args:
        image: uint8, or float in [0, 1] (see `convert_to_uint8`); `[h, w, 3]` or `[3, h, w]`.
        layout: decides where both ends of the shape are 3.

    Raises:
        ValueError: another shape or type, or no pixels.
    """
    array = np.asarray(image)
    ends = (array.shape[0] == 3, array.shape[-1] == 3) if array.ndim == 3 else (False, False)
    if not any(ends) or not array.size:
        raise ValueError(f"an image is RGB, [h, w, 3] or [3, h, w], with pixels in it; got {array.dtype} {array.shape}")
    first = ends[0] and (layout == "chw" or not ends[1])
    array = convert_to_uint8(array)
    return np.ascontiguousarray(np.moveaxis(array, 0, -1)) if first else array
