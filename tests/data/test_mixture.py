"""Mixtures: realised shares, and the loader's promises (order by seed and position alone) hold for them, too."""

from __future__ import annotations

import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.core.types import Observation, Sample
from inspire_fast.data.loader import Loader, LoaderConfig
from inspire_fast.data.mixture import Mixture, Part, spread, turn


class Numbered:
    """Samples `(part, number)`."""

    def __init__(self, part: int, count: int) -> None:
        self.part, self.count = part, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Sample:
        return Sample(observation=Observation(images={}, state=np.array([self.part, i], np.float32), prompt=""))


def transform(sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"state": sample.observation.state.astype(int), "noise": rng.standard_normal(2)}


def mixture(sizes=(12, 90, 33), weights=(0.5, 0.2, 0.3)) -> Mixture:
    weights = weights or [None] * len(sizes)
    return Mixture(
        [
            Part(name=f"part {k}", source=Numbered(k, n), weight=w)
            for k, (n, w) in enumerate(zip(sizes, weights, strict=True))
        ]
    )


def loader(source: Mixture, **changes) -> Loader:
    return Loader(
        source, transform, LoaderConfig(**{"batch_size": 4, "seed": 3, "shuffle": True, "num_threads": 0, **changes})
    )


def states(batches) -> np.ndarray:
    return np.concatenate([batch["state"] for batch in batches])


def test_turns_as_drawn_in_the_docstring() -> None:
    assert [turn(p, (1, 3)) for p in range(8)] == [(1, 0), (1, 1), (1, 2), (0, 0), (1, 3), (1, 4), (1, 5), (0, 1)]


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(1, 1000), min_size=1, max_size=6), length=st.integers(1, 400))
def test_every_prefix_has_the_right_shares(counts: list[int], length: int) -> None:
    parts, before = np.array([turn(p, counts) for p in range(length)]).T
    for k, count in enumerate(counts):
        mine = parts == k
        np.testing.assert_array_equal(before[mine], np.arange(mine.sum()), err_msg="no turn left out or taken twice")
        wanted = (np.arange(length) + 1) * count / sum(counts)
        assert np.abs(np.cumsum(mine) - wanted).max() < len(counts)


@settings(max_examples=10, deadline=None)
@given(
    weights=st.lists(st.floats(0.01, 10), min_size=2, max_size=4),
    sizes=st.lists(st.integers(1, 30), min_size=4, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    processes=st.integers(1, 3),
)
def test_realised_shares_of_all_processes_together(weights, sizes, seed: int, processes: int) -> None:
    source = mixture(sizes[: len(weights)], weights)
    draws = 300 * processes
    shards = [
        states(
            itertools.islice(
                # Shares do not depend on shuffling, which Grain does slowly where there are very few samples.
                loader(source, seed=seed, shuffle=False, batch_size=50, process_index=p, process_count=processes),
                6,
            )
        )
        for p in range(processes)
    ]
    drawn = np.concatenate(shards)
    for k, weight in enumerate(weights):
        assert abs((drawn[:, 0] == k).sum() - draws * weight / sum(weights)) < len(weights) + 1


def test_parts_are_seen_in_full_and_repeat() -> None:
    drawn = states(itertools.islice(loader(mixture(), batch_size=120), 4))
    for k, size in enumerate((12, 90, 33)):
        numbers = drawn[drawn[:, 0] == k, 1]
        assert len(numbers) >= size
        for epoch in range(len(numbers) // size):
            np.testing.assert_array_equal(np.sort(numbers[epoch * size :][:size]), np.arange(size))
    first = drawn[drawn[:, 0] == 0, 1][:240].reshape(-1, 12)
    assert len({tuple(epoch) for epoch in first}) > 1, "every pass over a part has its own order"


def test_without_weights_by_size() -> None:
    source = mixture(weights=None)
    np.testing.assert_allclose(source.fractions, np.array([12, 90, 33]) / 135)
    drawn = states(loader(source, epochs=1, batch_size=1))
    assert len(drawn) == len(source) == 135
    assert len({tuple(row) for row in drawn}) == 135, "an epoch by size is every sample once"


@pytest.mark.parametrize("threads", [0, 2])
def test_resume_and_threads(threads: int) -> None:
    whole = list(itertools.islice(loader(mixture()), 12))
    first = loader(mixture(), num_threads=threads)
    for wanted, got in zip(whole[:5], itertools.islice(first, 5), strict=True):
        np.testing.assert_array_equal(wanted["state"], got["state"])
    state = json.loads(json.dumps(first.state()))
    first.close()
    resumed = loader(mixture(), num_threads=threads)
    resumed.restore(state)
    for wanted, got in zip(whole[5:], itertools.islice(resumed, 7), strict=True):
        np.testing.assert_array_equal(wanted["state"], got["state"])
        np.testing.assert_array_equal(wanted["noise"], got["noise"])
    resumed.close()
    with pytest.raises(ValueError, match="'mixture'"):
        loader(mixture(weights=(0.4, 0.3, 0.3))).restore(state)
    with pytest.raises(ValueError, match="'mixture'"):
        loader(mixture(sizes=(13, 89, 33))).restore(state)


def test_parts_with_their_own_transform() -> None:
    def scaled(sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"state": sample.observation.state.astype(int) * 100, "noise": rng.standard_normal(2)}

    source = Mixture(
        [
            Part(name="a", source=Numbered(1, 4), weight=1),
            Part(name="b", source=Numbered(2, 4), weight=1, transform=scaled),
        ]
    )
    assert set(states(itertools.islice(loader(source), 4))[:, 0].tolist()) == {1, 200}
    assert source[5].observation.state.tolist() == [2, 1]


def test_refusals() -> None:
    one = Part(name="a", source=Numbered(0, 3), weight=1.0)
    with pytest.raises(ValueError, match="different names"):
        Mixture([one, one])
    with pytest.raises(ValueError, match="all parts or to none"):
        Mixture([one, Part(name="b", source=Numbered(0, 3))])
    with pytest.raises(ValueError, match="'b': the weight must be positive"):
        Part(name="b", source=Numbered(0, 3), weight=0.0)
    with pytest.raises(ValueError, match="'b' of the mixture has no samples"):
        Mixture([one, Part(name="b", source=Numbered(0, 0), weight=1.0)])
    with pytest.raises(IndexError, match="Sample 3 of 3"):
        Mixture([one])[3]


def test_spread_is_even_and_in_shares() -> None:
    assert spread(Numbered(0, 9), 5) == [0, 2, 4, 6, 8]
    assert spread(Numbered(0, 2), 4) == [0, 0, 1, 1]
    source = mixture(sizes=(4, 90), weights=(3, 1))
    assert spread(source, 8) == [0, 1, 1, 2, 2, 3, 4, 93]
    assert spread(mixture(sizes=(10, 30), weights=None), 8)[:2] == [0, 9]


def test_how_often_a_sample_is_drawn() -> None:
    assert mixture(sizes=(12, 90, 33), weights=None).sample_weights == (1.0, 1.0, 1.0)
    np.testing.assert_allclose(mixture(sizes=(10, 30), weights=(3, 1)).sample_weights, (3.0, 1 / 3))
