"""Normalisation statistics of a source: exact where they fit in memory, from a stream of batches otherwise. No pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from inspire_fast.data.actions import delta_actions
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.normalize import NormStats, exact_stats
from inspire_fast.data.running_stats import RunningStats

MEMORY_BYTES = 1 << 30
# Of one dimension: float32 values, their rows' numbers, the float64 copy, and the copy that the quantiles are found in.
_BYTES_PER_VALUE = 28
_BATCH = 4096


def fits_in_memory(source: ChunkSource, memory_bytes: int = MEMORY_BYTES) -> bool:
    """Exact statistics, worked out one action dimension after another, need no more than this."""
    return len(source) * source.horizon * _BYTES_PER_VALUE <= memory_bytes


def source_stats(
    source: ChunkSource, *, delta: Sequence[bool] = (), streaming: bool | None = None
) -> dict[str, NormStats]:
    """Statistics of `state` and `actions`, the latter over whole chunks and relative to the state where `delta` says so.

    Args:
        source: the training samples.
        delta: see `Normalizer.delta`.
        streaming: openpi's running statistics, whose quantiles are approximate, in constant memory; None: only where
            exact ones would take more than `MEMORY_BYTES`.

    Raises:
        ValueError: fewer than two samples, or numbers that are not finite.
    """
    if streaming or (streaming is None and not fits_in_memory(source)):
        return _streamed(source, delta)
    states = source.states()
    dims = [_exact_dim(source, states, delta, dim) for dim in range(source.robot.action_dim)]
    return {"state": exact_stats(states), "actions": _joined(dims)}


def batches(source: ChunkSource, delta: Sequence[bool], size: int = _BATCH) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """States `[n, s]` and (delta) chunks `[n, t, a]`, in order, `size` samples at a time."""
    for start in range(0, len(source), size):
        part = slice(start, start + size)
        states = source.states(part)
        yield states, delta_actions(source.chunks(part), states, delta)


def _exact_dim(source: ChunkSource, states: np.ndarray, delta: Sequence[bool], dim: int) -> NormStats:
    values = source.chunks(dims=slice(dim, dim + 1))
    if dim < len(delta) and delta[dim]:
        values = delta_actions(values, states[:, dim : dim + 1], (True,))
    return exact_stats(values)


def _joined(dims: Sequence[NormStats]) -> NormStats:
    columns = {name: np.concatenate([getattr(dim, name) for dim in dims]) for name in ("mean", "std", "q01", "q99")}
    return NormStats(**columns)


def _streamed(source: ChunkSource, delta: Sequence[bool]) -> dict[str, NormStats]:
    running = {"state": RunningStats(), "actions": RunningStats()}
    for states, chunks in batches(source, delta):
        running["state"].update(states)
        running["actions"].update(chunks)
    return {name: stats.stats() for name, stats in running.items()}
