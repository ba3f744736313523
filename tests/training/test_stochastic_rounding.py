"""Stochastic rounding keeps the mean of updates that rounding to the nearest value would lose."""

from dataclasses import replace

from flax.traverse_util import flatten_dict
import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.training.named_configs import load_config
from inspire_fast.training.optimizer import OptimizerConfig
from inspire_fast.training.state import init_state, make_update
from inspire_fast.training.stochastic_rounding import rounded, widened


def test_small_updates_arrive_on_average() -> None:
    ones = {"a": jnp.ones((64, 64), jnp.bfloat16), "step": jnp.int32(3)}
    nearest = at_random = ones
    for n in range(100):
        step = {"a": 1e-4, "step": 0}
        nearest = jax.tree.map(lambda x, u, old: (x + u).astype(old.dtype), widened(nearest), step, ones)
        moved = jax.tree.map(lambda x, u: x + u, widened(at_random), step)
        at_random = rounded(moved, at_random, jax.random.key(n))
    assert at_random["a"].dtype == jnp.bfloat16
    assert at_random["step"] == 3
    np.testing.assert_array_equal(np.asarray(nearest["a"], np.float32), 1.0)  # each update was lost
    np.testing.assert_allclose(np.asarray(at_random["a"], np.float32).mean(), 1.01, atol=5e-4)


def test_roundings_are_unbiased_and_adjacent() -> None:
    x = jnp.array(
        np.random.default_rng(0).normal(size=200) * 10.0 ** np.arange(-100, 100, 1).clip(-30, 30), jnp.float32
    )
    like = x.astype(jnp.bfloat16)
    draws = np.stack([np.asarray(rounded(x, like, jax.random.key(n)), np.float32) for n in range(400)])
    spacing = np.abs(np.asarray(x)) * 2.0**-7
    assert (np.abs(draws - np.asarray(x)) <= spacing).all()
    error = (draws - np.asarray(x)).mean(
        axis=0
    ) / spacing  # of a mean of 400: at most 0.5 / sqrt(400) standard deviations
    assert np.abs(error).max() < 5 * 0.5 / np.sqrt(400)
    exact = rounded(widened(like), like, jax.random.key(0))
    np.testing.assert_array_equal(np.asarray(exact, np.float32), np.asarray(like, np.float32))


def test_what_is_not_finite_stays_so() -> None:
    x = jnp.array([jnp.inf, -jnp.inf, jnp.nan, 3.4e38])
    out = np.asarray(rounded(x, x.astype(jnp.bfloat16), jax.random.key(0)), np.float32)
    assert np.isposinf(out[0])
    assert np.isneginf(out[1])
    assert np.isnan(out[2])


def test_leaves_round_by_draws_of_their_own() -> None:
    x = jnp.full((2, 512), 1.001)
    pair = rounded([x[0], x[1]], [x[0].astype(jnp.bfloat16)] * 2, jax.random.key(1))
    assert (np.asarray(pair[0]) != np.asarray(pair[1])).any()


def test_updates_without_masters_follow_those_with() -> None:
    """Gradients far too small for bfloat16 one by one: weights and their EMA end where they do in float32."""
    optimizer = OptimizerConfig(peak_lr=1e-4, end_lr=1e-4, warmup_steps=1, ema_decay=0.9)
    mixed = replace(load_config("debug"), optimizer=optimizer, steps=40)
    drawn = {"language": {"weight": np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)}}
    ends = []
    for config in (mixed, replace(mixed, precision="bfloat16")):
        state, update = init_state(config, drawn), jax.jit(make_update(config))
        start = flatten_dict(state.params, sep="/")
        gradient = jax.tree.map(lambda x: np.full(x.shape, 1e-3, x.dtype), state.params)
        for _ in range(40):
            state = update(state, gradient)
        for tree in (state.params, state.ema):
            flat = flatten_dict(tree, sep="/").items()
            moved = [np.asarray(x, np.float32) - np.asarray(start[path], np.float32) for path, x in flat]
            ends.append(np.concatenate([x.ravel() for x in moved]).mean())
        dtypes = {x.dtype for x in jax.tree.leaves((state.params, state.ema, state.opt_state)) if x.ndim}
        assert dtypes == {np.dtype(config.trained_dtype)}
    np.testing.assert_allclose(ends[0], -40 * 1e-4, rtol=0.05)
    np.testing.assert_allclose(ends[2:], ends[:2], rtol=0.05)
