from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.normalization.stats import NormStats


def statistics(rng: np.random.Generator, dims: int) -> NormStats:
    low = rng.normal(size=dims)
    return NormStats(mean=low + 1, std=rng.uniform(0.1, 3, dims), q01=low, q99=low + rng.uniform(0.1, 5, dims))


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["quantile", "zscore"]),
    delta=st.lists(st.booleans(), max_size=5).map(tuple),
    batch=st.booleans(),
)
def test_there_and_back(seed, kind, delta, batch) -> None:
    rng = np.random.default_rng(seed)
    normalizer = Normalizer(stats={"state": statistics(rng, 6), "actions": statistics(rng, 5)}, kind=kind, delta=delta)
    lead = (3,) if batch else ()
    state, actions = rng.normal(size=(*lead, 6)), rng.normal(size=(*lead, 4, 5))
    for array in (state, actions):
        array.flags.writeable = False
    normalised = normalizer.actions(actions, state)
    np.testing.assert_allclose(normalizer.canonical_actions(normalised, state), actions, atol=1e-9)
    # What is relative does not change when arm and targets move together; what is absolute does not see the state.
    shift = np.zeros(6)
    shift[: len(delta)] = np.where(delta, 0.7, 0)
    moved = normalizer.actions(actions + shift[:5], state + shift)
    np.testing.assert_allclose(moved, normalised, atol=1e-9)


def test_by_hand() -> None:
    unit = NormStats(mean=np.zeros(2), std=np.ones(2), q01=-np.ones(2), q99=np.ones(2))
    normalizer = Normalizer(stats={"state": unit, "actions": unit}, delta=(True,))
    actions = normalizer.actions(np.array([[0.5, 0.5], [0.7, 0.5]]), np.array([0.4, 0.9]))
    np.testing.assert_allclose(actions, [[0.1, 0.5], [0.3, 0.5]], atol=1e-5)


def test_refusals() -> None:
    unit = NormStats(mean=np.zeros(2), std=np.ones(2))
    with pytest.raises(ValueError, match=r"'z-score'.*Did you mean 'zscore'"):
        Normalizer(stats={"state": unit, "actions": unit}, kind="z-score")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"Statistics of \['actions'\] are missing"):
        Normalizer(stats={"state": unit})
    with pytest.raises(ValueError, match="no quantiles"):
        Normalizer(stats={"state": unit, "actions": unit}).state(np.zeros(2))
    with pytest.raises(ValueError, match=r"mask of 3 dimensions .* they have 2 and 4\."):
        Normalizer(stats={"state": unit, "actions": unit}, kind="zscore", delta=(True,) * 3).actions(
            np.zeros((1, 4)), np.zeros(2)
        )
