"""Residual vector quantisation: a chunk as a few codes, as miniVLA writes actions.

The chunk, or each block of some of its steps, is one vector. A code book gives the nearest code; the next one gives the
nearest to what is left, and so on. The books are found by k-means on what the books before left over (miniVLA trains an
auto-encoder around the same idea; plain k-means needs no training run and nothing but NumPy. An orthonormal transform in
front, such as FAST's, would change nothing: it keeps distances).

From the second book on, code 0 is zero, so that a further book never makes a chunk worse. Each book has ids of its own:
book `s` of `k` codes has `s * k .. (s + 1) * k - 1`. A block is written book by book, block after block.

The range is what the data showed when the tokenizer was fitted: a chunk that cannot be written to within `tolerance` raises,
and decoded values stay within `low .. high`, whatever codes a model combines.
"""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
import json
from pathlib import Path

import numpy as np

from inspire_fast.tokenizers.action import require_chunks, require_count, require_shape
from inspire_fast.tokenizers.grammar import Grammar, fixed_length
from inspire_fast.tokenizers.kmeans import fit_residual_books, nearest

FILE = "vq_tokenizer.npz"
MARGIN = 1.25  # of the tolerance over the worst chunk that was fitted or covered


class ResidualVq:
    """A fitted residual vector quantiser.

    Args:
        books: float `[s, k, d]`: `s` code books of `k` codes; `d` is steps of a block times action dimensions.
        horizon, action_dim: shape of a chunk; the horizon is a multiple of a block's steps.
        low, high: range of decoded values.
        tolerance: greatest absolute error of a chunk that is encoded.
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
        """Ids per block."""
        return self.books.shape[0]

    @property
    def blocks(self) -> int:
        """Per chunk."""
        return self.shape[0] * self.shape[1] // self.books.shape[2]

    @property
    def vocab_size(self) -> int:
        return self.books.shape[0] * self.books.shape[1]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._settings().encode() + self.books.tobytes()).hexdigest()

    def encode(self, actions: np.ndarray) -> list[int]:
        """See `ActionTokenizer.encode`. Refuses a chunk whose round trip errs by more than `tolerance`."""
        return self.encode_batch(require_chunks(actions, "VQ", ndim=2, shape=self.shape)[None])[0]

    def encode_batch(self, actions: np.ndarray) -> list[list[int]]:
        """See `ActionTokenizer.encode_batch`."""
        actions = require_chunks(actions, "VQ", ndim=3, shape=self.shape)
        codes = self._codes(actions)
        error = np.abs(self._chunks(codes) - actions).max(axis=(1, 2))
        if error.max() > self.tolerance:
            worst = int(error.argmax())
            raise ValueError(
                f"VQ cannot write this chunk: it would be off by {error[worst]:.3g}, and no chunk was by more than "
                f"{self.tolerance:.3g} where the code books come from (its values span {actions[worst].min():.4g} .. "
                f"{actions[worst].max():.4g}; those spanned {self.low:.4g} .. {self.high:.4g}). Check the normalisation "
                "statistics, or fit the tokenizer on data that covers this."
            )
        offsets = np.arange(self.stages) * self.books.shape[1]
        return (codes + offsets).reshape(len(actions), -1).tolist()

    def _codes(self, actions: np.ndarray) -> np.ndarray:
        """int64 `[n, blocks, stages]`."""
        rest = actions.reshape(-1, self.books.shape[2]).copy()
        codes = np.empty((len(rest), self.stages), np.int64)
        for stage, book in enumerate(self.books):
            codes[:, stage] = nearest(rest, book)
            rest -= book[codes[:, stage]]
        return codes.reshape(len(actions), self.blocks, self.stages)

    def _chunks(self, codes: np.ndarray) -> np.ndarray:
        """int64 `[n, blocks, stages]` -> float64 `[n, t, a]`."""
        vectors = self.books[np.arange(self.stages), codes].astype(np.float64).sum(axis=2)
        return np.clip(vectors, self.low, self.high).reshape(len(codes), *self.shape)

    def decode(self, ids: Sequence[int], horizon: int, action_dim: int) -> np.ndarray:
        """See `ActionTokenizer.decode`."""
        return self.decode_batch([ids], horizon, action_dim)[0]

    def decode_batch(self, ids: Sequence[Sequence[int]], horizon: int, action_dim: int) -> np.ndarray:
        """See `ActionTokenizer.decode_batch`."""
        require_shape("VQ", self.shape, horizon, action_dim)
        for row in ids:
            require_count("VQ", "codes", len(row), horizon, action_dim, self.blocks * self.stages)
        size = self.books.shape[1]
        codes = np.asarray(ids, np.int64).reshape(-1, self.blocks, self.stages) - np.arange(self.stages) * size
        if ((codes < 0) | (codes >= size)).any():
            row, block, stage = np.argwhere((codes < 0) | (codes >= size))[0].tolist()
            raise ValueError(
                f"VQ id {ids[row][block * self.stages + stage]} stands where code book {stage} has ids {stage * size} .. "
                f"{(stage + 1) * size - 1}. Decode with `grammar()`, which cannot produce this."
            )
        return self._chunks(codes).astype(np.float32)

    def grammar(self, horizon: int, action_dim: int) -> Grammar:
        """Every block's codes, book by book."""
        require_shape("VQ", self.shape, horizon, action_dim)
        return fixed_length([self.books.shape[1]] * self.stages, self.blocks)

    def _settings(self) -> str:
        settings = {"horizon": self.shape[0], "action_dim": self.shape[1], "low": self.low, "high": self.high}
        return json.dumps({**settings, "tolerance": self.tolerance, "books": self.books.shape}, sort_keys=True)

    def save(self, directory: Path) -> None:
        """Writes `vq_tokenizer.npz`: the array `books`, and the settings as JSON text."""
        directory.mkdir(parents=True, exist_ok=True)
        np.savez(directory / FILE, books=self.books, settings=np.array(self._settings()))

    @classmethod
    def load(cls, directory: Path) -> ResidualVq:
        """Reads what `save` wrote."""
        path = directory / FILE
        if not path.is_file():
            raise FileNotFoundError(f"No VQ tokenizer at {path}; fit one with ResidualVq.fit(...).save(...).")
        with np.load(path) as stored:
            settings = json.loads(str(stored["settings"]))
            del settings["books"]
            return cls(stored["books"], **settings)

    @classmethod
    def fit(
        cls,
        chunks: np.ndarray,
        *,
        vocab_size: int = 1024,
        cover: np.ndarray | None = None,
        progress: bool = False,
        stages: int = 4,
        block: int | None = None,
        iterations: int = 20,
        seed: int = 0,
        max_vectors: int = 50_000,
    ) -> ResidualVq:
        """Fits the code books by k-means; the same data and seed give the same books.

        Args:
            chunks: training chunks `[n, t, a]`, normalised.
            vocab_size: ids, shared evenly among the books: `vocab_size / stages` codes each.
            cover: further chunks that must be expressible (held-out ones); the books do not see them, the tolerance does.
            progress: shows a bar on a terminal.
            stages: code books, and thus ids per block.
            block: steps that are quantised together; the whole chunk without. Must divide the horizon.
            iterations: of k-means per book.
            seed: of its starting points.
            max_vectors: the books are fitted on a random part of the data where there are more.
        """
        train = require_chunks(chunks, "VQ", ndim=3, shape=(None, None))
        _, horizon, action_dim = train.shape
        steps = horizon if block is None else block
        if stages < 1 or vocab_size % stages or steps < 1 or horizon % steps:
            raise ValueError(
                f"VQ needs vocab_size in equal shares and blocks that divide the chunk; got {vocab_size} ids for {stages} "
                f"stages, and blocks of {block} steps in a horizon of {horizon}."
            )
        books = fit_residual_books(
            train.reshape(-1, steps * action_dim),
            stages=stages,
            codes=vocab_size // stages,
            iterations=iterations,
            rng=np.random.default_rng(seed),
            max_vectors=max_vectors,
            progress=progress,
        )
        every = (
            train
            if cover is None
            else np.concatenate([train, require_chunks(cover, "VQ", ndim=3, shape=train.shape[1:])])
        )
        found = cls(books, horizon=horizon, action_dim=action_dim, low=every.min(), high=every.max(), tolerance=0.0)
        found.tolerance = MARGIN * float(np.abs(found._chunks(found._codes(every)) - every).max())
        return found
