"""Normalisation statistics of a source, without images: exact if they fit in memory, else from a stream of batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.mixture import Mixture
from inspire_fast.data.normalization.delta import Mask, delta_actions
from inspire_fast.data.normalization.normalizer import absolute_periods
from inspire_fast.data.normalization.running import RunningStats
from inspire_fast.data.normalization.stats import NormStats, exact_stats
from inspire_fast.robots.periodic import circular_mean, continued, nearest

Source = ChunkSource | Mixture[ChunkSource]
MEMORY_BYTES = 1 << 30
# Of one dimension: float32 values, their rows' numbers, the float64 copy, and the copy that the quantiles are found in;
# with weights also these, their sums, and the order of the values.
_BYTES_PER_VALUE, _BYTES_PER_WEIGHED_VALUE = 28, 68
_BATCH = 4096
_DIRECTIONS = 20_000


@dataclass(frozen=True)
class _Circles:
    """Periods of states and of absolute actions, and the places about which their angles are read."""

    state: np.ndarray
    actions: np.ndarray
    middle_state: np.ndarray
    middle_action: np.ndarray

    def states(self, states: np.ndarray) -> np.ndarray:
        """States `[n, s]` with angles nearest their middle."""
        return nearest(states, self.middle_state, self.state)

    def chunks(self, chunks: np.ndarray, dims: slice = slice(None)) -> np.ndarray:
        """Chunks `[n, t, a]`, relative where they are, with absolute angles as paths from about their middle on."""
        return continued(chunks, self.middle_action[dims], self.actions[dims])


def _circles(parts: Sequence[tuple[ChunkSource, float]], delta: Mask) -> _Circles:
    robot = parts[0][0].robot
    dims = {"state": robot.state_dim, "actions": robot.action_dim}
    periods = {name: np.array(robot.canonical_periods.get(name, np.zeros(dim))) for name, dim in dims.items()}
    periods["actions"] = absolute_periods(periods["actions"].tolist(), delta)
    middles = {name: np.zeros(dim) for name, dim in dims.items()}
    if robot.periods:  # a direction needs no more than some samples
        some = slice(None, None, -(-sum(len(part) for part, _ in parts) // _DIRECTIONS))
        states = np.concatenate([part.states(some) for part, _ in parts])
        actions = np.concatenate([part.chunks(some)[:, 0] for part, _ in parts])
        middles = {
            "state": circular_mean(states, periods["state"]),
            "actions": circular_mean(actions, periods["actions"]),
        }
    return _Circles(periods["state"], periods["actions"], middles["state"], middles["actions"])


def fits_in_memory(source: Source, memory_bytes: int = MEMORY_BYTES) -> bool:
    """Whether exact statistics, computed one action dimension after another, fit into `memory_bytes`."""
    parts = _parts(source)
    each = _BYTES_PER_VALUE if _alike(parts) else _BYTES_PER_WEIGHED_VALUE
    return len(source) * parts[0][0].horizon * each <= memory_bytes


def source_stats(source: Source, *, delta: Mask = (), streaming: bool | None = None) -> dict[str, NormStats]:
    """Statistics of `state` and of `actions`, over whole chunks, relative to the state in the dimensions of `delta`.

    A mixture's samples count as often as they are drawn. Angles (`Robot.periods`) are read about their mean direction,
    as `Normalizer` reads them about their mean.

    Args:
        source: the training samples.
        delta: as in `Normalizer`.
        streaming: openpi's running statistics in constant memory, whose quantiles are approximate; None: only if exact
            ones would take more than `MEMORY_BYTES`.

    Raises:
        ValueError: fewer than two samples, or numbers that are not finite.
    """
    if streaming or (streaming is None and not fits_in_memory(source)):
        return _streamed(source, delta)
    parts = _parts(source)
    circles, states = _circles(parts, delta), [part.states() for part, _ in parts]
    weights = None if _alike(parts) else np.repeat([weight for _, weight in parts], [len(part) for part, _ in parts])
    dims = [_exact_dim(source, states, weights, delta, dim, circles) for dim in range(parts[0][0].robot.action_dim)]
    return {"state": exact_stats(circles.states(np.concatenate(states)), weights), "actions": _joined(dims)}


def _parts(source: Source) -> list[tuple[ChunkSource, float]]:
    """Datasets, and the weight of one sample of each."""
    if not isinstance(source, Mixture):
        return [(source, 1.0)]
    return [(part.source, weight) for part, weight in zip(source.parts, source.sample_weights, strict=True)]


def _alike(parts: Sequence[tuple[ChunkSource, float]]) -> bool:
    return all(weight == 1.0 for _, weight in parts)


def _batches(source: ChunkSource, delta: Mask, size: int = _BATCH) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """States `[n, s]` and (delta) chunks `[n, t, a]`, in order, `size` samples at a time."""
    for start in range(0, len(source), size):
        part = slice(start, start + size)
        states = source.states(part)
        yield states, delta_actions(source.chunks(part), states, delta)


def _exact_dim(
    source: Source, states: Sequence[np.ndarray], weights: np.ndarray | None, delta: Mask, dim: int, circles: _Circles
) -> NormStats:
    one = slice(dim, dim + 1)
    parts = [part.chunks(dims=one) for part, _ in _parts(source)]
    if dim < len(delta) and delta[dim]:
        parts = [delta_actions(v, s[:, one], delta[one]) for v, s in zip(parts, states, strict=True)]
    values = circles.chunks(parts[0] if len(parts) == 1 else np.concatenate(parts), one)
    return exact_stats(values, None if weights is None else np.repeat(weights, values.shape[1]))


def _joined(dims: Sequence[NormStats]) -> NormStats:
    columns = {name: np.concatenate([getattr(dim, name) for dim in dims]) for name in ("mean", "std", "q01", "q99")}
    return NormStats(**columns)


def _streamed(source: Source, delta: Mask) -> dict[str, NormStats]:
    running = {"state": RunningStats(), "actions": RunningStats()}
    circles = _circles(_parts(source), delta)
    for part, weight in _parts(source):
        for states, chunks in _batches(part, delta):
            running["state"].update(circles.states(states), weight)
            running["actions"].update(circles.chunks(chunks), weight)
    return {name: stats.stats() for name, stats in running.items()}
