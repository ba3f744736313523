"""Gradients and AdamW steps of openpi, through the parts that our training step is made of.

The first steps of AdamW move every entry by about the learning rate, in the direction of its gradient's sign. An entry
whose gradient is smaller than rounding (some of 300,000 are) may go either way, and one that is sensitive then changes
the next loss by 1e-5 and what follows by more: `dummy_mu_lora` seems to hold one such entry (estimated to first order).
So values before the first update must agree to rounding, and later ones within bounds that one flip cannot exceed
and a wrong rule would.
"""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
import re

from flax import traverse_util
import jax
import numpy as np
import pytest

from inspire_fast.models.freeze import FreezeConfig, Frozen
from inspire_fast.models.openpi.params import TABLE, flat_params
from inspire_fast.training.config import DataConfig, OptimizerConfig, TrainConfig
from inspire_fast.training.optimizer import learning_rate
from inspire_fast.training.state import init_state, make_gradient, make_update
from tests.golden.cases import none
from tests.golden.network_cases import Case, case, folders

NOISE = 1e-6  # of the whole gradient's l2: what is smaller is rounding
NUMBER = r"[\d.]+(?:e-?\d+)?(?:/\d+)?"


def with_gradients() -> list:
    """Full cases whose `info.json` has gradients or steps; those with LoRA take as long again, and are slow."""
    found = folders("full")
    if found[0].values[0] is None:
        return found
    infos = [Case.read_info(p.values[0]) for p in found]
    kept = [
        pytest.param(*p.values, id=p.id, marks=[*p.marks, *[pytest.mark.slow] * bool(info.get("lora"))])
        for p, info in zip(found, infos, strict=True)
        if {"grad", "adamw"} & set(info)
    ]
    return kept or [none(f"no gradients in {[p.id for p in found]}")]


def number(text: str, pattern: str) -> float:
    """A number as the vectors write it: `.95`, `1e-3`, or a fraction of one, `1e-3/3`."""
    over, _, under = re.search(rf"{pattern}({NUMBER})", text).group(1).partition("/")
    return float(Fraction(over) / Fraction(under or 1))


def train_config(c: Case, what: Frozen) -> TrainConfig:
    """The optimiser that the case's `adamw` describes, or openpi's default where it has none."""
    stored = c.info.get("adamw", {})
    optimizer = OptimizerConfig()
    if stored:
        rule, schedule = stored["optimizer"], stored["schedule"]
        optimizer = OptimizerConfig(
            clip_norm=number(rule, r"clip_by_global_norm\("),
            b1=number(rule, "b1="),
            b2=number(rule, "b2="),
            eps=number(rule, "eps="),
            weight_decay=number(rule, "weight_decay="),
            peak_lr=number(schedule, "peak="),
            end_lr=number(schedule, "end="),
            warmup_steps=int(number(schedule, "warmup_steps=")),
            decay_steps=int(number(schedule, "decay_steps=")),
        )
        np.testing.assert_allclose(learning_rate(optimizer, 1)(0), number(schedule, "init="), rtol=1e-6)
    return TrainConfig(
        name="golden",
        data=DataConfig(root=Path("unused")),
        model=c.config,
        optimizer=replace(optimizer, ema_decay=None),
        freeze=FreezeConfig(what=what, dtype="float32"),
    )


def frozen_in(c: Case) -> Frozen:
    """What the case froze: the rule under which exactly the leaves with a gradient train."""
    trained = set(c.info.get("grad", c.params))
    ours = {path: TABLE[path] for path in flat_params(c.model)}
    for what in ("nothing", "language", "all_but_lora", "vision"):
        rule = FreezeConfig(what=what)
        if trained == {theirs for path, theirs in ours.items() if not rule.freezes(path)}:
            return what
    raise AssertionError(f"No freeze rule of ours trains exactly {sorted(trained)}.")


def upstream(params: dict) -> dict[str, np.ndarray]:
    return {TABLE[path]: np.asarray(v) for path, v in traverse_util.flatten_dict(params, sep="/").items()}


def check_gradients(ours: dict[str, np.ndarray], stored: dict) -> float:
    """l2, largest entry and sum per leaf, relative to the leaf's l2; returns the largest difference."""
    assert set(ours) == set(stored)
    worst, noise = 0.0, NOISE * total(stored)
    for path, figures in stored.items():
        g, l2 = ours[path].astype(np.float64), figures["l2"]
        found = {"l2": np.linalg.norm(g), "absmax": np.abs(g).max(), "sum": g.sum()}
        # Each of the entries of a sum brings its own rounding.
        for name, scale in {"l2": l2, "absmax": l2, "sum": l2 * g.size**0.5}.items():
            error = max(0.0, float(abs(found[name] - figures[name])) - noise)
            assert error <= 3e-4 * scale, (path, name, found[name], figures[name])
            worst = max(worst, error / scale)
    return worst


def total(stored: dict) -> float:
    """l2 of the whole gradient."""
    return sum(figures["l2"] ** 2 for figures in stored.values()) ** 0.5


def check_parameters(ours: dict[str, np.ndarray], stored: dict, c: Case, learning_rates: float) -> float:
    """l2 per leaf; returns the largest relative difference.

    A leaf whose gradient is 0 but for rounding (a key's bias: softmax does not see it) is moved by AdamW as far as any
    other, in a direction that rounding decides: its entries may lie anywhere within the sum of the learning rates.
    """
    worst, gradients = 0.0, c.info.get("grad", {})
    for path, l2 in stored.items():
        found = np.linalg.norm(ours[path].astype(np.float64))
        if path in gradients and gradients[path]["l2"] <= NOISE * total(gradients):
            np.testing.assert_allclose(ours[path], c.params[path], atol=1.01 * learning_rates, err_msg=path)
        else:
            moved = np.linalg.norm((ours[path] - c.params[path]).astype(np.float64))
            assert abs(found - l2) <= 2e-2 * moved, (path, found, l2, moved)
            worst = max(worst, abs(found / l2 - 1))
    return worst


@pytest.mark.parametrize("folder", with_gradients())
def test_gradients_and_steps(folder: Path, record_property: Callable[[str, object], None]) -> None:
    c = case(folder)
    config = train_config(c, frozen_in(c))
    gradient = jax.jit(make_gradient(config))
    update = jax.jit(make_update(config))
    ours = {path: variable.get_value() for path, variable in flat_params(c.model).items()}
    state = init_state(config, traverse_util.unflatten_dict(ours, sep="/"))
    steps = c.info.get("adamw", {"losses": [None]})
    for step, expected in enumerate(steps["losses"]):
        gradients, metrics = gradient(state.params, c.training)
        flat = upstream(gradients)
        if step == 0 and "grad" in c.info:
            record_property("gradients, largest relative difference", float(check_gradients(flat, c.info["grad"])))
        if expected is not None:
            np.testing.assert_allclose(metrics["loss"], expected, rtol=2e-4 * step or 2e-5)
            norm = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in flat.values()))
            np.testing.assert_allclose(norm, steps["grad_norms"][step], rtol=5e-3 * step or 1e-4)
            state = update(state, gradients)
    rates = sum(float(learning_rate(config.optimizer, config.steps)(step)) for step in range(int(state.step)))
    worst = check_parameters(upstream(state.params), c.info.get("params_after_adamw_l2", {}), c, rates)
    record_property("parameters after AdamW, largest relative difference of l2", float(worst))
