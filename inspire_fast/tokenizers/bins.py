"""Uniform bins: every value of a chunk is one id, as RT-2 and OpenVLA write actions.

The interval [-1, 1] of normalised values is cut into equal bins; an id decodes to its bin's centre. Ids run over the chunk
time-major, and mean the same in every dimension.

What lies outside. Quantile normalisation puts 1 % of each dimension's values below -1 and 1 % above 1 on purpose, and the
bins of RT-2 and OpenVLA cut these off. So do ours, but only as far as the fitted data reach: a value beyond anything seen
when the tokenizer was fitted means other statistics, and raises. `clip=False` widens the bins to hold everything instead,
which costs resolution where data have outliers.
"""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
import json
from pathlib import Path

import numpy as np

from inspire_fast.core.files import write_text
from inspire_fast.tokenizers.action import require_chunks, require_count
from inspire_fast.tokenizers.grammar import Grammar, fixed_length

FILE = "bins_tokenizer.json"
SLACK = 1e-6  # a value is normalised in more than one place; the last digit may differ


class UniformBins:
    """A uniform-bin tokenizer.

    Args:
        bins: ids.
        low, high: the interval that they divide.
        reach: lowest and highest value that is encoded at all; those outside [low, high] get the outermost bin. None refuses
            every value outside.
    """

    def __init__(
        self, *, bins: int = 256, low: float = -1.0, high: float = 1.0, reach: tuple[float, float] | None = None
    ) -> None:
        self.bins, self.low, self.high = int(bins), float(low), float(high)
        self.reach = (self.low, self.high) if reach is None else (float(reach[0]), float(reach[1]))
        if bins < 1 or not self.reach[0] <= self.low < self.high <= self.reach[1] or not np.isfinite(self.reach).all():
            raise ValueError(
                f"Uniform bins need bins >= 1 and reach[0] <= low < high <= reach[1]; got bins={bins}, low={low}, high={high}, "
                f"reach={reach}."
            )

    @property
    def vocab_size(self) -> int:
        return self.bins

    @property
    def width(self) -> float:
        """Of one bin. Inside of [low, high] a value decodes to within half of it."""
        return (self.high - self.low) / self.bins

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._dump().encode()).hexdigest()

    def encode(self, actions: np.ndarray) -> list[int]:
        """See `ActionTokenizer.encode`."""
        return self._indices(require_chunks(actions, "uniform-bin", ndim=2, shape=(None, None))).ravel().tolist()

    def encode_batch(self, actions: np.ndarray) -> list[list[int]]:
        """See `ActionTokenizer.encode_batch`."""
        actions = require_chunks(actions, "uniform-bin", ndim=3, shape=(None, None))
        return self._indices(actions).reshape(len(actions), -1).tolist()

    def _indices(self, actions: np.ndarray) -> np.ndarray:
        low, high = float(actions.min()), float(actions.max())
        if low < self.reach[0] - SLACK or high > self.reach[1] + SLACK:
            raise ValueError(
                f"The chunk's values span {low:.4g} .. {high:.4g}; this uniform-bin tokenizer takes {self.reach[0]:.4g} .. "
                f"{self.reach[1]:.4g} (bins over {self.low:.4g} .. {self.high:.4g}). Check the normalisation statistics, or "
                "fit the tokenizer on data that covers this."
            )
        indices = np.floor((actions - self.low) / self.width).astype(np.int64)
        return np.clip(indices, 0, self.bins - 1)

    def decode(self, ids: Sequence[int], horizon: int, action_dim: int) -> np.ndarray:
        """See `ActionTokenizer.decode`."""
        return self.decode_batch([ids], horizon, action_dim)[0]

    def decode_batch(self, ids: Sequence[Sequence[int]], horizon: int, action_dim: int) -> np.ndarray:
        """See `ActionTokenizer.decode_batch`."""
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
        """Reads what `save` wrote."""
        path = directory / FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"No uniform-bin tokenizer at {path}; make one with UniformBins.fit(...).save(...)."
            )
        return cls(**json.loads(path.read_text()))

    @classmethod
    def fit(
        cls,
        chunks: np.ndarray,
        *,
        vocab_size: int = 256,
        cover: np.ndarray | None = None,
        progress: bool = False,
        clip: bool = True,
    ) -> UniformBins:
        """Finds how far values reach.

        Args:
            chunks: training chunks `[n, t, a]`, normalised.
            vocab_size: number of bins.
            cover: further chunks that must be expressible (held-out ones).
            progress: without effect, it takes no time.
            clip: True cuts values outside [-1, 1] to the outermost bins; False widens the bins to hold all of them.
        """
        del progress
        given = [chunks] if cover is None else [chunks, cover]
        values = [require_chunks(c, "uniform-bin", ndim=3, shape=(None, None)) for c in given]
        low = min(-1.0, *(float(v.min()) for v in values))
        high = max(1.0, *(float(v.max()) for v in values))
        return cls(bins=vocab_size, reach=(low, high)) if clip else cls(bins=vocab_size, low=low, high=high)
