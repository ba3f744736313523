"""Uniform-bin action tokenizer: every value of a chunk is one id, as in RT-2 and OpenVLA.

The interval [-1, 1] of normalised values is divided into equal bins; an id decodes to the centre of its bin. Ids run
over the chunk time-major and mean the same in every dimension.

Values outside: quantile normalisation leaves 1 % of each dimension's values below -1 and 1 % above 1 on purpose. RT-2
and OpenVLA clip them to the outermost bins. So does this tokenizer, but only as far as the fitted data reach: a value
beyond anything seen in fitting means other statistics, and raises. `clip=False` widens the bins to the whole range
instead, which costs resolution if the data have outliers.
"""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
import json
from pathlib import Path

import numpy as np

from inspire_fast.core.files import write_text
from inspire_fast.tokenizers.action import Chunks, blocks, require_chunks, require_count, require_file, shape_of
from inspire_fast.tokenizers.grammar import Grammar, fixed_length

FILE = "bins_tokenizer.json"
SLACK = 1e-6  # several modules normalise; the last digit may differ


class UniformBins:
    """A uniform-bin tokenizer.

    Args:
        bins: number of ids.
        low, high: the interval that the bins divide.
        reach: lowest and highest value that can be encoded; those outside [low, high] get the outermost bin. None
            refuses every value outside.
    """

    def __init__(
        self, *, bins: int = 256, low: float = -1.0, high: float = 1.0, reach: tuple[float, float] | None = None
    ) -> None:
        self.bins, self.low, self.high = int(bins), float(low), float(high)
        self.reach = (self.low, self.high) if reach is None else (float(reach[0]), float(reach[1]))
        if bins < 1 or not self.reach[0] <= self.low < self.high <= self.reach[1] or not np.isfinite(self.reach).all():
            raise ValueError(
                f"Uniform bins need bins >= 1 and reach[0] <= low < high <= reach[1]; got bins={bins}, low={low}, "
                f"high={high}, reach={reach}."
            )

    @property
    def vocab_size(self) -> int:
        return self.bins

    @property
    def width(self) -> float:
        """Width of one bin. A value within [low, high] decodes to within half of it."""
        return (self.high - self.low) / self.bins

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._dump().encode()).hexdigest()

    def encode(self, actions: np.ndarray) -> list[int]:
        """Bin of every value of a chunk `[t, a]`."""
        return self._indices(require_chunks(actions, "uniform-bin", ndim=2)).ravel().tolist()

    def encode_batch(self, actions: np.ndarray) -> list[list[int]]:
        """Bin of every value of chunks `[n, t, a]`."""
        actions = require_chunks(actions, "uniform-bin", ndim=3)
        return self._indices(actions).reshape(len(actions), -1).tolist()

    def prefix(self, actions: np.ndarray) -> list[int]:
        """See `StepwiseTokenizer`: ids run over the chunk time-major, so that its first ids are its first actions."""
        return self._indices(np.clip(require_chunks(actions, "uniform-bin", ndim=2), *self.reach)).ravel().tolist()

    def _indices(self, actions: np.ndarray) -> np.ndarray:
        low, high = float(actions.min()), float(actions.max())
        if low < self.reach[0] - SLACK or high > self.reach[1] + SLACK:
            raise ValueError(
                f"The chunk's values span {low:.4g} .. {high:.4g}; this uniform-bin tokenizer takes "
                f"{self.reach[0]:.4g} .. {self.reach[1]:.4g} (bins over {self.low:.4g} .. {self.high:.4g}). Check the "
                "normalisation statistics, or fit the tokenizer on data that covers this."
            )
        indices = np.floor((actions - self.low) / self.width).astype(np.int64)
        return np.clip(indices, 0, self.bins - 1)

    def decode(self, ids: Sequence[int], horizon: int, action_dim: int) -> np.ndarray:
        """Bin centres of one chunk."""
        return self.decode_batch([ids], horizon, action_dim)[0]

    def decode_batch(self, ids: Sequence[Sequence[int]], horizon: int, action_dim: int) -> np.ndarray:
        """Bin centres of several chunks."""
        for row in ids:
            require_count("uniform-bin", "values", len(row), horizon, action_dim, horizon * action_dim)
        indices = np.asarray(ids, np.int64).reshape(-1, horizon, action_dim)
        if (bad := indices[(indices < 0) | (indices >= self.bins)]).size:
            raise ValueError(f"Uniform-bin ids {bad[:5].tolist()} are outside 0 .. {self.bins - 1}.")
        return (self.low + (indices + 0.5) * self.width).astype(np.float32)

    def grammar(self, horizon: int, action_dim: int) -> Grammar:
        """`horizon * action_dim` ids, any of them."""
        return fixed_length([self.bins], horizon * action_dim)

    def _dump(self) -> str:
        return json.dumps({"bins": self.bins, "low": self.low, "high": self.high, "reach": self.reach}, sort_keys=True)

    def save(self, directory: Path) -> None:
        """Writes `bins_tokenizer.json`."""
        write_text(directory / FILE, self._dump())

    @classmethod
    def load(cls, directory: Path) -> UniformBins:
        """Reads `bins_tokenizer.json`."""
        return cls(**json.loads(require_file(directory, FILE, cls).read_text(encoding="utf-8")))

    @classmethod
    def fit(
        cls, chunks: Chunks, *, vocab_size: int = 256, cover: Chunks | None = None, clip: bool = True
    ) -> UniformBins:
        """Finds the range of the values.

        Args:
            chunks: normalised training chunks.
            vocab_size: number of bins.
            cover: further chunks that must be expressible (held-out ones).
            clip: True clips values outside [-1, 1] to the outermost bins; False widens the bins to hold all of them.
        """
        shape_of(chunks, "uniform-bin")  # refuses no chunks
        low, high = -1.0, 1.0
        for given in (chunks, () if cover is None else cover):
            for block in blocks(given, "uniform-bin"):
                low, high = min(low, float(block.min())), max(high, float(block.max()))
        return cls(bins=vocab_size, reach=(low, high)) if clip else cls(bins=vocab_size, low=low, high=high)
