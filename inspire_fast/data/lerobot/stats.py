"""LeRobot v3.0's statistics of features, per episode and for the dataset, both exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
STAT_NAMES = ("min", "max", "mean", "std", "count", *QUANTILES)


def numeric_stats(values: np.ndarray) -> dict[str, list[Any]]:
    """Statistics of a column `[n]` or `[n, k]` as lists of length k (1 for `[n]`); integers keep integer bounds."""
    columns = values.reshape(len(values), math.prod(values.shape[1:]))
    if columns.dtype == bool:
        columns = columns.astype(np.int64)
    wide = columns.astype(np.float64)
    quantiles = np.quantile(wide, list(QUANTILES.values()), axis=0)
    return {
        "min": columns.min(axis=0).tolist(),
        "max": columns.max(axis=0).tolist(),
        "mean": wide.mean(axis=0).tolist(),
        "std": wide.std(axis=0).tolist(),
        "count": [len(columns)],
        **{name: row.tolist() for name, row in zip(QUANTILES, quantiles, strict=True)},
    }


class PixelHistogram:
    """Counts of the 256 values of each colour channel, from which all statistics of a camera follow exactly.

    LeRobot estimates them from a sample of shrunken frames; counting is as fast and needs no memory for images.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), np.int64)
        self._frames = 0

    def add(self, image: np.ndarray, times: int = 1) -> None:
        """Counts one image, uint8 `[h, w, 3]`, that `times` frames share."""
        for channel in range(3):
            self._counts[channel] += times * np.bincount(image[..., channel].ravel(), minlength=256)
        self._frames += times

    def merge(self, other: PixelHistogram) -> None:
        """Adds another histogram's counts."""
        self._counts += other._counts
        self._frames += other._frames

    def stats(self) -> dict[str, list[Any]]:
        """Statistics in 0..1, each shaped `[3][1][1]` (channel first, as LeRobot stores them); `count` is in frames."""
        levels = np.arange(256) / 255.0
        total = self._counts.sum(axis=1)
        mean = self._counts @ levels / total
        variance = self._counts @ levels**2 / total - mean**2
        cumulative = np.cumsum(self._counts, axis=1)

        def level(rank: np.ndarray) -> np.ndarray:
            """Value of the pixel with this rank (0-based) per channel."""
            return levels[(cumulative <= rank[:, None]).sum(axis=1)]

        values = {
            "min": level(np.zeros(3, np.int64)),
            "max": level(total - 1),
            "mean": mean,
            "std": np.sqrt(np.maximum(variance, 0.0)),
            **{name: level(np.floor(q * (total - 1)).astype(np.int64)) for name, q in QUANTILES.items()},
        }
        return {
            name: [self._frames] if name == "count" else values[name].reshape(3, 1, 1).tolist() for name in STAT_NAMES
        }
