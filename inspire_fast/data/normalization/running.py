"""Running statistics of a stream of batches, with openpi's arithmetic and therefore its numbers."""

from __future__ import annotations

import numpy as np

from inspire_fast.data.normalization.stats import NormStats, bad_dims

_BINS = 5000


class RunningStats:
    """Mean, standard deviation and 1 % / 99 % quantiles of vectors, batch by batch.

    Quantiles come from a histogram per dimension (5000 bins over the range seen; when the range grows, old counts move
    to the bins in which their left edges fall), so they are approximate; `exact_stats` is better where data fits
    in memory.
    """

    def __init__(self) -> None:
        self._vectors = 0
        self._count = 0.0  # their weights together
        self._mean = self._mean_square = self._low = self._high = np.zeros(0)
        self._counts = np.zeros((0, _BINS))
        self._edges = np.zeros((0, _BINS + 1))

    def update(self, batch: np.ndarray, weight: float = 1.0) -> None:
        """Adds vectors `[..., d]`, each with the weight `weight`.

        Raises:
            ValueError: NaN or infinity, or another number of dimensions than before.
        """
        vectors = batch.reshape(-1, batch.shape[-1])
        if not np.isfinite(vectors).all():
            raise ValueError(f"Statistics of NaN or infinity are refused (dimensions {bad_dims(vectors)}).")
        if self._count and vectors.shape[1] != len(self._mean):
            raise ValueError(f"Got vectors of {vectors.shape[1]} dimensions after vectors of {len(self._mean)}.")
        mean, mean_square = vectors.mean(axis=0), (vectors**2).mean(axis=0)
        low, high = vectors.min(axis=0), vectors.max(axis=0)
        if self._count == 0:
            # Copies: they are updated in place below, in the data's own precision.
            self._mean, self._mean_square, self._low, self._high = mean.copy(), mean_square.copy(), low, high
            self._counts = np.zeros((len(mean), _BINS))
            self._edges = np.stack([_edges(a - 1e-10, b + 1e-10) for a, b in _pairs(low, high)])
        elif (low < self._low).any() or (high > self._high).any():
            self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
            self._rebin()
        count = len(vectors) * weight
        self._vectors += len(vectors)
        self._count += count
        self._mean += (mean - self._mean) * (count / self._count)
        self._mean_square += (mean_square - self._mean_square) * (count / self._count)
        for dim, values in enumerate(vectors.T):
            self._counts[dim] += np.histogram(values, bins=self._edges[dim])[0] * weight

    def stats(self) -> NormStats:
        """The statistics of all vectors so far.

        Raises:
            ValueError: fewer than two vectors were added.
        """
        if self._vectors < 2:
            raise ValueError(f"Statistics need at least 2 vectors; got {self._vectors}.")
        std = np.sqrt(np.maximum(0, self._mean_square - self._mean**2))
        return NormStats(mean=self._mean.copy(), std=std, q01=self._quantile(0.01), q99=self._quantile(0.99))

    def _rebin(self) -> None:
        for dim, (a, b) in enumerate(_pairs(self._low, self._high)):
            edges = _edges(a, b)
            self._counts[dim] = np.histogram(self._edges[dim][:-1], bins=edges, weights=self._counts[dim])[0]
            self._edges[dim] = edges

    def _quantile(self, fraction: float) -> np.ndarray:
        bins = (np.cumsum(self._counts, axis=1) < fraction * self._count).sum(axis=1)
        return self._edges[np.arange(len(self._edges)), bins]


def _pairs(low: np.ndarray, high: np.ndarray) -> list[tuple[float, float]]:
    # Python floats: bin edges are float64 whatever the data's precision.
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _edges(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, _BINS + 1)
