"""k-means, and residual code books by k-means. NumPy only."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

ROWS = 8192  # vectors per block of a distance matrix


def nearest(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Index of the nearest code for each vector: `[n, d]`, `[k, d]` -> int64 `[n]`; among equal ones the first."""
    codes = codes.astype(np.float64)
    half = 0.5 * np.einsum("kd,kd->k", codes, codes)
    parts = [np.argmin(half - vectors[i : i + ROWS] @ codes.T, axis=1) for i in range(0, len(vectors), ROWS)]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def spread_out(vectors: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++ starting points `[k, d]`: the probability of a vector grows with its distance to the chosen ones."""
    chosen = [vectors[rng.integers(len(vectors))]]
    distance = np.square(vectors - chosen[0]).sum(axis=1)
    for _ in range(k - 1):
        total = distance.sum()
        # With fewer distinct vectors than codes, codes repeat; a repeated code wastes an id and does no harm.
        pick = rng.choice(len(vectors), p=distance / total) if total > 0 else 0
        chosen.append(vectors[pick])
        distance = np.minimum(distance, np.square(vectors - chosen[-1]).sum(axis=1))
    return np.stack(chosen)


def refine(vectors: np.ndarray, codes: np.ndarray, *, fixed: int = 0) -> np.ndarray:
    """One step of k-means: each code moves to the mean of the vectors nearest to it.

    A code without any vector moves to a vector that is far from its own code.

    Args:
        vectors: `[n, d]`.
        codes: `[k, d]`.
        fixed: number of codes, from the first on, that stay in place.
    """
    owner = nearest(vectors, codes)
    counts = np.bincount(owner, minlength=len(codes))
    sums = np.zeros_like(codes)
    np.add.at(sums, owner, vectors)
    moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], codes)
    lonely = np.flatnonzero(counts == 0)
    if len(lonely):
        farthest = np.argsort(-np.square(vectors - codes[owner]).sum(axis=1), kind="stable")
        moved[lonely] = vectors[np.resize(farthest, len(lonely))]
    moved[:fixed] = codes[:fixed]
    return moved


def fit_residual_books(
    vectors: np.ndarray, *, stages: int, codes: int, iterations: int, rng: np.random.Generator
) -> np.ndarray:
    """Code books float32 `[stages, codes, d]`, each fitted to the residual of the ones before it.

    Code 0 of every book but the first is zero.

    Raises:
        ValueError: fewer vectors than codes.
    """
    if len(vectors) < codes:
        raise ValueError(
            f"VQ cannot find {codes} codes per book in {len(vectors)} vectors. Give more data, smaller blocks, or "
            "fewer ids (action_vocab_size)."
        )
    residual, books = vectors.copy(), list[np.ndarray]()
    with tqdm(total=stages * iterations, desc="VQ: k-means", disable=None) as bar:
        for stage in range(stages):
            fixed = int(stage > 0)
            book = spread_out(residual, codes - fixed, rng) if codes > fixed else np.empty((0, residual.shape[1]))
            book = np.concatenate([np.zeros((fixed, residual.shape[1])), book])
            for _ in range(iterations):
                book = refine(residual, book, fixed=fixed)
                bar.update()
            book = book.astype(np.float32)
            residual = residual - book[nearest(residual, book)]
            books.append(book)
            bar.set_postfix_str(f"error {np.abs(residual).mean():.4f}")
    return np.stack(books)
