"""Loader of batches: shuffled, prefetched by threads, sharded by process, resumable between any two batches (Grain).

The batch at a position of the stream depends on (seed, position) alone, never on the timing of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
import sys
from typing import Any

import grain
import numpy as np

from inspire_fast.core.ranges import Count, Natural, Seed, require_ranges
from inspire_fast.data.mixture import Mixture, SampleSource, Transform, turn


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """The order, the grouping and the reading of a stream of batches.

    Attributes:
        batch_size: samples per batch of this process.
        seed: 0 .. 2^32 - 1; of the order and of every sample's generator.
        shuffle: off reads the source in order.
        num_threads: threads that read and transform; 0 does it in the calling thread.
        drop_remainder: leave out a last batch that is not full (matters only with `epochs`). With it every process gets
            equally many batches.
        epochs: passes over the source; None never ends.
        process_index: this process.
        process_count: processes that share the stream.

    Raises:
        ValueError: a value out of range.
    """

    batch_size: Count
    seed: Seed
    shuffle: bool
    num_threads: Natural = 2
    drop_remainder: bool = True
    epochs: Count | None = None
    process_index: Natural = 0
    process_count: Count = 1

    def __post_init__(self) -> None:
        require_ranges(self)
        if self.process_index >= self.process_count:
            raise ValueError(
                f"process_index must be 0 .. process_count - 1; got {self.process_index} of {self.process_count}."
            )


class Loader(Iterator[dict[str, np.ndarray]]):
    """Iterator of stacked batches.

    Each epoch has its own order; batches continue across epochs, so that no sample is lost between them. With several
    processes, position p of the stream belongs to process `p % process_count`: together they see the stream of a single
    process, without overlap.

    Args:
        source: random-access samples, or a `Mixture` of such; must be safe to read from threads.
        transform: sample and its own random generator -> arrays of one shape for all samples. Parts of a mixture may
            have their own.
        config: order, grouping and reading.

    Raises:
        ValueError: not one batch could be filled.
    """

    def __init__(self, source: SampleSource, transform: Transform, config: LoaderConfig) -> None:
        samples = _stream(source, config)

        def load(position: int, index: int) -> dict[str, np.ndarray]:
            chosen = (source.locate(index)[0].transform or transform) if isinstance(source, Mixture) else transform
            return dict(chosen(source[index], np.random.default_rng((config.seed, position))))

        batches = samples.map_with_index(load)[config.process_index :: config.process_count].batch(
            config.batch_size, drop_remainder=config.drop_remainder, batch_fn=_stack
        )
        # Grain's default prefetches 500 elements, here batches.
        options = grain.ReadOptions(num_threads=config.num_threads, prefetch_buffer_size=2 * config.num_threads)
        self._iterator = iter(batches.to_iter_dataset(options))
        self._contract = {
            "samples": len(source),
            # Of all processes: however many there are, the next batch is the same rows.
            "batch_size": config.batch_size * config.process_count,
            "seed": config.seed,
            "shuffle": config.shuffle,
            "drop_remainder": config.drop_remainder,
            "epochs": config.epochs,
            **({"mixture": source.identity()} if isinstance(source, Mixture) else {}),
        }

    def __next__(self) -> dict[str, np.ndarray]:
        return next(self._iterator)

    def state(self) -> dict[str, Any]:
        """The stream's position after the last batch taken; JSON-able, and the same on every process."""
        return {**self._contract, "position": self._iterator.get_state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from a `state()`, with the same batches from there on.

        The number of processes may differ, as long as all of them together take as many samples per batch.

        Raises:
            ValueError: the state is of another stream; the message lists the differences.
        """
        differing = {
            name: (state.get(name), value) for name, value in self._contract.items() if state.get(name) != value
        }
        if differing or "position" not in state:
            raise ValueError(
                "The loader's state belongs to another stream; (saved, now) differ in: "
                f"{differing or 'position is missing'}. Resume with the settings and data that the run began with."
            )
        self._iterator.set_state(dict(state["position"]))

    def close(self) -> None:
        """Stops the threads."""
        self._iterator.close()


def _stream(source: SampleSource, config: LoaderConfig) -> grain.MapDataset[int]:
    """The order of the samples, without those at its end that fill no batch."""
    if not len(source):
        raise ValueError("A loader needs samples; got 0 samples.")
    samples = _order(source, seed=config.seed, shuffle=config.shuffle, epochs=config.epochs)
    if config.epochs is None or not config.drop_remainder:
        return samples
    together = config.process_count * config.batch_size
    samples = samples[: len(samples) // together * together]
    if not len(samples):
        raise ValueError(
            f"{config.epochs} epochs of {len(source)} samples do not fill one batch of {config.batch_size} on each of "
            f"{config.process_count} processes; use smaller batches or drop_remainder=False."
        )
    return samples


def _order(source: SampleSource, *, seed: int, shuffle: bool, epochs: int | None) -> grain.MapDataset[int]:
    """Numbers of the samples in the order of the stream."""

    def numbers(start: int, count: int, seed: int, epochs: int | None) -> grain.MapDataset[int]:
        plain = grain.MapDataset.source(range(start, start + count))
        return (plain.shuffle(seed=seed) if shuffle else plain).repeat(epochs)

    if not isinstance(source, Mixture):
        return numbers(0, len(source), seed, epochs)
    counts = source.counts
    # Parts that are equally long would otherwise be shuffled alike.
    seeds = np.random.SeedSequence(seed).generate_state(len(counts)).tolist()
    streams = [numbers(source.start(k), len(part.source), seeds[k], None) for k, part in enumerate(source.parts)]

    def draw(position: int) -> int:
        part, before = turn(position, counts)
        number = streams[part][before]
        assert number is not None  # Grain's elements may be absent after a filter; there is none here
        return number

    return grain.MapDataset.range(sys.maxsize if epochs is None else epochs * len(source)).map(draw)


def _stack(samples: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    first = samples[0]
    for sample in samples[1:]:
        for name in first.keys() | sample.keys():
            shapes = [np.shape(s[name]) if name in s else None for s in (first, sample)]
            if shapes[0] != shapes[1]:
                raise ValueError(f"Samples of one batch differ in {name!r}: {shapes[0]} and {shapes[1]}.")
    return {name: np.stack([sample[name] for sample in samples]) for name in first}
