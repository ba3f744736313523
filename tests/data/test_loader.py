"""The stream of batches depends on the seed and the position alone: not on threads, interruptions or processes."""

from __future__ import annotations

from collections.abc import Mapping
import itertools
import json
from pathlib import Path
import time

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.core.types import Observation, Sample
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.loader import Loader, LoaderConfig
from inspire_fast.robots import ROBOTS
from tests.data.synthetic import write_dataset


class Numbers:
    """Samples whose state is their number; some take longer, so that threads finish out of order."""

    def __init__(self, count: int, *, slow_s: float = 0.0, broken: int | None = None) -> None:
        self.count, self.slow_s, self.broken = count, slow_s, broken

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Sample:
        if i == self.broken:
            raise DatasetError(f"episode 0, frame {i} is broken")
        if i % 3 == 0:
            time.sleep(self.slow_s)
        return Sample(observation=Observation(images={}, state=np.array([i], np.float32), prompt=""))


def transform(sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"number": sample.observation.state[0].astype(np.int64), "noise": rng.standard_normal(3)}


def make(source: Numbers | None = None, **changes) -> Loader:
    arguments = {"batch_size": 4, "seed": 7, "shuffle": True, "num_threads": 2, **changes}
    return Loader(Numbers(10) if source is None else source, transform, LoaderConfig(**arguments))


def take(loader: Loader, n: int | None = None) -> list[dict[str, np.ndarray]]:
    return list(itertools.islice(loader, n))


def assert_equal(left: list[Mapping[str, np.ndarray]], right: list[Mapping[str, np.ndarray]]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def numbers(batches: list[dict[str, np.ndarray]]) -> list[int]:
    return np.concatenate([batch["number"] for batch in batches]).tolist()


@settings(max_examples=15, deadline=None)
@given(
    taken=st.integers(0, 9),
    threads=st.integers(0, 3),
    samples=st.integers(5, 12),
    shuffle=st.booleans(),
    process=st.integers(0, 1),
)
def test_resume_gives_the_remaining_batches(
    taken: int, threads: int, samples: int, shuffle: bool, process: int
) -> None:
    def new() -> Loader:
        return make(Numbers(samples), shuffle=shuffle, num_threads=threads, process_index=process, process_count=2)

    whole = take(new(), 12)
    first = new()
    assert_equal(take(first, taken), whole[:taken])
    state = json.loads(json.dumps(first.state()))
    resumed = new()
    resumed.restore(state)
    assert_equal(take(resumed, 12 - taken), whole[taken:])
    # Going back with the same loader works as well.
    take(first, 2)
    first.restore(state)
    assert_equal(take(first, 12 - taken), whole[taken:])
    first.close()
    resumed.close()


def test_threads_do_not_matter() -> None:
    batches = [take(make(Numbers(30, slow_s=0.002), num_threads=n), 10) for n in (0, 1, 4)]
    assert_equal(batches[0], batches[1])
    assert_equal(batches[0], batches[2])
    other = take(make(Numbers(30), seed=8), 10)
    assert numbers(other) != numbers(batches[0])
    assert not np.array_equal(other[0]["noise"], batches[0][0]["noise"])


def test_epochs_are_permutations_and_noise_is_fresh() -> None:
    stream = take(make(Numbers(10), batch_size=5, epochs=3))
    epochs = [numbers(stream[i : i + 2]) for i in (0, 2, 4)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    noise = np.concatenate([batch["noise"] for batch in stream])
    assert len(np.unique(noise)) == noise.size
    ordered = numbers(take(make(Numbers(10), batch_size=5, shuffle=False, epochs=2)))
    assert ordered == [*range(10), *range(10)]


@pytest.mark.parametrize("drop_remainder", [True, False])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_stream(processes: int, drop_remainder: bool) -> None:
    """Together they see what one process alone would see; none of it twice."""
    shards = [
        take(make(Numbers(26), epochs=1, drop_remainder=drop_remainder, process_index=p, process_count=processes))
        for p in range(processes)
    ]
    seen = [number for shard in shards for number in numbers(shard)]
    assert len(seen) == len(set(seen))
    assert len(seen) == (26 // (4 * processes) * 4 * processes if drop_remainder else 26)
    if drop_remainder:
        assert len({len(shard) for shard in shards}) == 1
    alone = take(make(Numbers(26), epochs=1, batch_size=1))
    noise = {int(b["number"][0]): b["noise"][0] for b in alone}
    for batch in itertools.chain(*shards):
        for number, values in zip(batch["number"], batch["noise"], strict=True):
            np.testing.assert_array_equal(values, noise[int(number)])


def test_one_process_may_save_for_all() -> None:
    loaders = [make(process_index=p, process_count=2) for p in (0, 1)]
    whole = take(make(process_index=1, process_count=2), 6)
    take(loaders[0], 3)
    loaders[1].restore(loaders[0].state())
    assert_equal(take(loaders[1], 3), whole[3:])


def test_errors_of_samples_arrive() -> None:
    with pytest.raises(DatasetError, match="frame 5 is broken"):
        take(make(Numbers(10, broken=5)), 3)


def test_uneven_samples_are_named() -> None:
    def uneven(sample: Sample, _rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"ids": np.zeros(3 + int(sample.observation.state[0]) % 2)}

    with pytest.raises(ValueError, match=r"differ in 'ids'"):
        next(Loader(Numbers(10), uneven, LoaderConfig(batch_size=4, seed=0, shuffle=False)))


def test_refusals() -> None:
    state = make().state()
    with pytest.raises(ValueError, match=r"'seed': \(7, 8\)"):
        make(seed=8).restore(state)
    with pytest.raises(ValueError, match=r"'samples': \(10, 11\)"):
        make(Numbers(11)).restore(state)
    with pytest.raises(ValueError, match="do not fill one batch of 4 on each of 3 processes"):
        make(epochs=1, process_count=3)
    for arguments in ({"seed": -1}, {"batch_size": 0}, {"process_index": 1}, {"epochs": 0}, {"num_threads": -1}):
        with pytest.raises(ValueError, match="got"):
            make(**arguments)
    with pytest.raises(ValueError, match="got 0 samples"):
        make(Numbers(0))


@pytest.mark.parametrize("storage", ["image", "video"])
def test_a_dataset_through_threads(tmp_path: Path, storage) -> None:
    """Reading by several threads gives what one thread reads."""
    root = write_dataset(tmp_path / "set", (20, 20), storage=storage)

    def arrays(sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        assert sample.actions is not None
        return {**sample.observation.images, "actions": sample.actions, "noise": rng.uniform(size=2)}

    def batches(threads: int) -> list[dict[str, np.ndarray]]:
        source = ChunkSource(LeRobotDataset(root, cache_bytes=64 << 20), None, robot=ROBOTS["libero"], horizon=5)
        loader = Loader(source, arrays, LoaderConfig(batch_size=8, seed=1, shuffle=True, num_threads=threads, epochs=1))
        taken = take(loader)
        loader.close()
        return taken

    assert len(batches(0)) == 5
    assert_equal(batches(0), batches(3))
