"""Residual vector quantiser for action chunks: a chunk becomes a few codes, as in miniVLA.

The chunk, or each block of its steps, is one vector. A code book gives the nearest code, the next book the code nearest
to the residual, and so on. k-means fits each book to the residuals of the books before it. (miniVLA trains an
auto-encoder around the same idea; k-means needs no training run and nothing but NumPy. An orthonormal transform in
front, such as FAST's, would change nothing, since it keeps distances.)

Code 0 is zero in every book but the first, so a further book never makes a chunk worse. Each book has its own ids: book
`s` of `k` codes has `s * k .. (s + 1) * k - 1`. A block is written book by book, block after block.

The fitted data define the range: a chunk with an error above `tolerance` raises, and decoded values stay within
`low .. high`, whatever codes a model combines.
"""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
import json
from pathlib import Path

import numpy as np

from inspire_fast.core.files import open_atomic
from inspire_fast.core.ranges import Count, Seed
from inspire_fast.tokenizers.action import (
    Chunks,
    blocks,
    picked,
    require_chunks,
    require_count,
    require_file,
    require_shape,
    shape_of,
)
from inspire_fast.tokenizers.grammar import Grammar, fixed_length
from inspire_fast.tokenizers.kmeans import fit_residual_books, nearest

FILE = "vq_tokenizer.npz"
MARGIN = 1.25  # tolerance / error of the worst fitted or covered chunk


class ResidualVq:
    """A fitted residual vector quantiser.

    Args:
        books: float `[s, k, d]`: `s` code books of `k` codes; `d` is the steps of a block times the action dimensions.
        horizon, action_dim: shape of a chunk; the horizon is a multiple of the steps of a block.
        low, high: range of decoded values.
        tolerance: largest absolute error of a chunk that can be encoded.
    """

    def __init__(
        self, books: np.ndarray, *, horizon: int, action_dim: int, low: float, high: float, tolerance: float
    ) -> None:
        self.books = np.asarray(books, np.float32)
        steps = horizon * action_dim
        if self.books.ndim != 3 or self.books.shape[-1] % action_dim or steps % self.books.shape[-1]:
            raise ValueError(
                f"VQ needs code books [stages, codes, steps x action dimensions] whose steps divide the horizon; got "
                f"{self.books.shape} for chunks of {horizon} x {action_dim}."
            )
        if not low <= high or not tolerance >= 0 or not np.isfinite(self.books).all():
            raise ValueError(
                f"VQ needs finite code books, low <= high and tolerance >= 0; got {low}, {high}, {tolerance}."
            )
        self.shape = (int(horizon), int(action_dim))
        self.low, self.high, self.tolerance = float(low), float(high), float(tolerance)

    @property
    def stages(self) -> int:
        """Number of code books, and of ids per block."""
        return self.books.shape[0]

    @property
    def blocks(self) -> int:
        """Number of blocks per chunk."""
        return self.shape[0] * self.shape[1] // self.books.shape[2]

    @property
    def vocab_size(self) -> int:
        return self.books.shape[0] * self.books.shape[1]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._settings().encode() + self.books.tobytes()).hexdigest()

    def encode(self, actions: np.ndarray) -> list[int]:
        """Codes of a chunk `[t, a]`; refuses one with an error above `tolerance`."""
        return self.encode_batch(require_chunks(actions, "VQ", ndim=2, shape=self.shape)[None])[0]

    def encode_batch(self, actions: np.ndarray) -> list[list[int]]:
        """Codes of chunks `[n, t, a]`; refuses one with an error above `tolerance`."""
        actions = require_chunks(actions, "VQ", ndim=3, shape=self.shape)
        codes = self._codes(actions)
        error = np.abs(self._chunks(codes) - actions).max(axis=(1, 2))
        if error.max() > self.tolerance:
            worst = int(error.argmax())
            raise ValueError(
                f"VQ cannot write this chunk: its error would be {error[worst]:.3g}, the tolerance is "
                f"{self.tolerance:.3g} (its values span {actions[worst].min():.4g} .. {actions[worst].max():.4g}; the "
                f"fitted ones spanned {self.low:.4g} .. {self.high:.4g}). Check the normalisation statistics, or fit "
                "the tokenizer on data that covers this."
            )
        offsets = np.arange(self.stages) * self.books.shape[1]
        return (codes + offsets).reshape(len(actions), -1).tolist()

    def _codes(self, actions: np.ndarray) -> np.ndarray:
        """int64 `[n, blocks, stages]`."""
        residual = actions.reshape(-1, self.books.shape[2]).copy()
        codes = np.empty((len(residual), self.stages), np.int64)
        for stage, book in enumerate(self.books):
            codes[:, stage] = nearest(residual, book)
            residual -= book[codes[:, stage]]
        return codes.reshape(len(actions), self.blocks, self.stages)

    def _chunks(self, codes: np.ndarray) -> np.ndarray:
        """int64 `[n, blocks, stages]` -> float64 `[n, t, a]`."""
        vectors = self.books[np.arange(self.stages), codes].astype(np.float64).sum(axis=2)
        return np.clip(vectors, self.low, self.high).reshape(len(codes), *self.shape)

    def decode(self, ids: Sequence[int], horizon: int, action_dim: int) -> np.ndarray:
        """Sum of the codes of one chunk."""
        return self.decode_batch([ids], horizon, action_dim)[0]

    def decode_batch(self, ids: Sequence[Sequence[int]], horizon: int, action_dim: int) -> np.ndarray:
        """Sums of the codes of several chunks."""
        require_shape("VQ", self.shape, horizon, action_dim)
        for row in ids:
            require_count("VQ", "codes", len(row), horizon, action_dim, self.blocks * self.stages)
        size = self.books.shape[1]
        codes = np.asarray(ids, np.int64).reshape(-1, self.blocks, self.stages) - np.arange(self.stages) * size
        if ((codes < 0) | (codes >= size)).any():
            row, block, stage = np.argwhere((codes < 0) | (codes >= size))[0].tolist()
            raise ValueError(
                f"VQ id {ids[row][block * self.stages + stage]} is none of code book {stage}, which is next and has "
                f"ids {stage * size} .. {(stage + 1) * size - 1}. Decode with `grammar()`, which cannot produce this."
            )
        return self._chunks(codes).astype(np.float32)

    def grammar(self, horizon: int, action_dim: int) -> Grammar:
        """Codes of every block, book by book."""
        require_shape("VQ", self.shape, horizon, action_dim)
        return fixed_length([self.books.shape[1]] * self.stages, self.blocks)

    def _settings(self) -> str:
        settings = {"horizon": self.shape[0], "action_dim": self.shape[1], "low": self.low, "high": self.high}
        return json.dumps({**settings, "tolerance": self.tolerance, "books": self.books.shape}, sort_keys=True)

    def save(self, directory: Path) -> None:
        """Writes `vq_tokenizer.npz`: the array `books`, and the settings as JSON text."""
        with open_atomic(directory / FILE) as stream:
            np.savez(stream, books=self.books, settings=np.array(self._settings()))

    @classmethod
    def load(cls, directory: Path) -> ResidualVq:
        """Reads `vq_tokenizer.npz`."""
        with np.load(require_file(directory, FILE, cls)) as stored:
            settings = json.loads(str(stored["settings"]))
            del settings["books"]
            return cls(stored["books"], **settings)

    @classmethod
    def fit(
        cls,
        chunks: Chunks,
        *,
        vocab_size: int = 1024,
        cover: Chunks | None = None,
        stages: Count = 4,
        block: Count | None = None,
        iterations: Count = 20,
        seed: Seed = 0,
        max_vectors: Count = 50_000,
    ) -> ResidualVq:
        """Fits the code books by k-means; the same data and seed give the same books.

        Args:
            chunks: normalised training chunks.
            vocab_size: number of ids, shared evenly among the books: `vocab_size / stages` codes each.
            cover: further chunks that must be expressible (held-out ones); they widen the tolerance, not the books.
            stages: number of code books, and of ids per block.
            block: steps that are quantised together; must divide the horizon. None takes the whole chunk.
            iterations: steps of k-means per book.
            seed: seed of the starting points.
            max_vectors: the books are fitted to a random subset if the data hold more vectors.
        """
        number, horizon, action_dim = shape_of(chunks, "VQ")
        steps, rng = horizon if block is None else block, np.random.default_rng(seed)
        if stages < 1 or vocab_size % stages or steps < 1 or horizon % steps:
            raise ValueError(
                f"VQ needs vocab_size in equal shares and blocks that divide the chunk; got {vocab_size} ids for "
                f"{stages} stages, and blocks of {block} steps in a horizon of {horizon}."
            )
        vectors = _vectors(chunks, (number, horizon // steps), max_vectors, rng)
        books = fit_residual_books(vectors, stages=stages, codes=vocab_size // stages, iterations=iterations, rng=rng)
        seen = [chunks] if cover is None else [chunks, cover]
        every = [block for given in seen for block in _ends(given)]
        low, high = min(low for low, _ in every), max(high for _, high in every)
        fitted = cls(books, horizon=horizon, action_dim=action_dim, low=low, high=high, tolerance=0.0)
        fitted.tolerance = MARGIN * max(fitted._largest_error(given) for given in seen)
        return fitted

    def _largest_error(self, chunks: Chunks) -> float:
        errors = (np.abs(self._chunks(self._codes(block)) - block).max() for block in blocks(chunks, "VQ"))
        return float(max(errors, default=0.0))


def _ends(chunks: Chunks) -> list[tuple[float, float]]:
    """Smallest and largest value of each block."""
    return [(float(block.min()), float(block.max())) for block in blocks(chunks, "VQ")]


def _vectors(chunks: Chunks, counts: tuple[int, int], limit: int, rng: np.random.Generator) -> np.ndarray:
    """The vectors that chunks consist of, or a random subset, `[k, d]`; counts are of chunks, and of vectors in one."""
    total, per_chunk = counts[0] * counts[1], counts[1]
    chosen = rng.choice(total, limit, replace=False) if total > limit else np.arange(total)
    numbers, place = np.unique(chosen // per_chunk, return_inverse=True)
    whole = np.concatenate([*picked(chunks, "VQ", numbers)])
    return whole.reshape(len(numbers) * per_chunk, -1)[place * per_chunk + chosen % per_chunk]
