"""Schedules and groups of parameters, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from inspire_fast.training.optimizer import OptimizerConfig, check_groups, learning_rate, make_optimizer

PARAMS = {"vision": {"a": jnp.array([1.0, -2.0])}, "language": {"b": jnp.array([3.0]), "norm": jnp.array([0.5])}}
GRADIENTS = [jax.tree.map(lambda x, n=n: jnp.sin(7.0 * x + n), PARAMS) for n in range(4)]
BASE = {"peak_lr": 1e-2, "end_lr": 1e-3, "warmup_steps": 2, "weight_decay": 0.1}


def run(config: OptimizerConfig) -> dict:
    optimizer, params = make_optimizer(config, 10), PARAMS
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for gradient in GRADIENTS:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize(
    ("schedule", "middle", "last"),
    [
        ("cosine", 1e-3 + 9e-3 * 0.5, 1e-3),
        ("linear", 1e-3 + 9e-3 * 0.5, 1e-3),
        ("rsqrt", 1e-2 / np.sqrt(1 + 4 / 8), 1e-2 / np.sqrt(2)),
        ("constant", 1e-2, 1e-2),
    ],
)
def test_schedules_by_hand(schedule: str, middle: float, last: float) -> None:
    rate = learning_rate(OptimizerConfig(**BASE, schedule=schedule, rsqrt_steps=8), 10)
    steps = [0, 1, 2, 6, 10]
    np.testing.assert_allclose(
        [rate(n) for n in steps], [1e-2 / 3, (1e-2 / 3 + 1e-2) / 2, 1e-2, middle, last], rtol=1e-5
    )


def test_groups_that_say_what_holds_anyway_change_nothing() -> None:
    plain, grouped = (
        run(OptimizerConfig(**BASE)),
        run(OptimizerConfig(**BASE, lr_factors={"vision": 1.0}, weight_decays={"": 0.1})),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), grouped, plain)


def test_a_group_has_its_own_rate_and_decay() -> None:
    """Each group by itself is a run of AdamW with the group's peak rate and decay; clipping stays common."""
    grouped = run(
        OptimizerConfig(
            **BASE, clip_norm=0.3, lr_factors={"^vision/": 0.1, "a$|b$": 2.0}, weight_decays={"norm": 0.0, "b": 0.5}
        )
    )
    for path, rate, decay in (
        (("vision", "a"), 0.1, 0.1),
        (("language", "b"), 2.0, 0.5),
        (("language", "norm"), 1.0, 0.0),
    ):
        alone = run(
            OptimizerConfig(peak_lr=1e-2 * rate, end_lr=1e-3 * rate, warmup_steps=2, weight_decay=decay, clip_norm=0.3)
        )
        np.testing.assert_allclose(grouped[path[0]][path[1]], alone[path[0]][path[1]], rtol=1e-5)


def test_a_group_without_members_is_refused() -> None:
    paths = ["vision/layers/q", "language/embedding"]
    check_groups(OptimizerConfig(lr_factors={"^vision/": 0.1, "embedding": 0.5}), paths)
    with pytest.raises(
        ValueError, match=r"lr_factors: 'vison' is found in no parameter .*There are language/embedding"
    ):
        check_groups(OptimizerConfig(lr_factors={"vison": 0.1}), paths)
    with pytest.raises(ValueError, match=r"weight_decays: 'layers' .*no earlier pattern has taken"):
        check_groups(OptimizerConfig(weight_decays={"vision": 0.1, "layers": 0.5}), paths)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"lr_factors": {"(": 1.0}}, "no regular expression"),
        ({"lr_factors": {"vision": 0.0}}, "must be a number, above 0"),
        ({"lr_factors": {"vision": float("inf")}}, "must be a number, above 0; got inf"),
        ({"weight_decays": {"vision": -1.0}}, "must be a number, at least 0; got -1"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OptimizerConfig(**change)
