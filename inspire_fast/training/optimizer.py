"""Optimiser and learning rate: schedules, clipping, AdamW, groups of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import re
from typing import Any, Literal

from flax import traverse_util
import jax
import jax.numpy as jnp
import optax

from inspire_fast.core.ranges import Count, Decay, Natural, NotNegative, Positive, require_ranges
from inspire_fast.core.registry import require_choice

Schedule = Literal["cosine", "linear", "rsqrt", "constant"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW (Loshchilov & Hutter 2019) after clipping by the global norm; defaults are openpi's.

    Attributes:
        schedule: learning rate after the warm-up. `cosine` and `linear` fall to `end_lr`; `rsqrt` is openpi's
            `peak_lr / sqrt(1 + steps since the warm-up / rsqrt_steps)`; `constant` stays.
        decay_steps: steps until `end_lr` is reached; None is the run's length.
        clip_norm: largest norm of the gradient over all parameters that train.
        ema_decay: decay of the parameters' exponential moving average (EMA), which is evaluated and served; None turns
            it off.
        lr_factors: regular expression over our parameter paths -> factor of the learning rate, such as
            `{"^vision/": 0.1}`; above 0, since `freeze` keeps parameters constant. The first expression found in a path
            counts; other parameters have factor 1. On the command line: `--optimizer.lr-factors ^vision/ 0.1`.
        weight_decays: regular expression -> weight decay instead of `weight_decay`; likewise.
    """

    peak_lr: Positive = 2.5e-5
    end_lr: NotNegative = 2.5e-6
    schedule: Schedule = "cosine"
    warmup_steps: Natural = 1_000
    decay_steps: Count | None = None
    rsqrt_steps: Count = 10_000
    b1: Decay = 0.9
    b2: Decay = 0.95
    eps: Positive = 1e-8
    weight_decay: NotNegative = 1e-10
    clip_norm: Positive = 1.0
    ema_decay: Decay | None = 0.99
    lr_factors: Mapping[str, Positive] = field(default_factory=dict)
    weight_decays: Mapping[str, NotNegative] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_ranges(self)
        require_choice("schedule", self.schedule, Schedule)
        for name, patterns in (("lr_factors", self.lr_factors), ("weight_decays", self.weight_decays)):
            for pattern in patterns:
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ValueError(
                        f"optimizer.{name}: {pattern!r} is no regular expression: {error}. Give one over parameter "
                        "paths, such as '^vision/' or 'lora'."
                    ) from error


def learning_rate(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Step -> learning rate: linear from peak / (warmup + 1) to the peak, then as `config.schedule` says.

    Raises:
        ValueError: the warm-up is longer than the schedule.
    """
    decay = config.decay_steps or steps
    if config.warmup_steps >= decay:
        raise ValueError(f"warmup_steps={config.warmup_steps} must be less than the {decay} steps of the schedule.")
    first = config.peak_lr / (config.warmup_steps + 1)
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(
            init_value=first,
            peak_value=config.peak_lr,
            warmup_steps=config.warmup_steps,
            decay_steps=decay,
            end_value=config.end_lr,
        )
    after: optax.Schedule = {
        "linear": optax.linear_schedule(config.peak_lr, config.end_lr, decay - config.warmup_steps),
        "rsqrt": lambda step: config.peak_lr / jnp.sqrt(1 + step / config.rsqrt_steps),
        "constant": optax.constant_schedule(config.peak_lr),
    }[config.schedule]
    warm_up = optax.linear_schedule(first, config.peak_lr, config.warmup_steps)
    return optax.join_schedules([warm_up, after], [config.warmup_steps])


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Clipping by the global norm, then AdamW, then each group's factor; its state is that of an optax chain."""
    rate = learning_rate(config, steps)
    if not config.lr_factors and not config.weight_decays:
        decayed = optax.adamw(rate, b1=config.b1, b2=config.b2, eps=config.eps, weight_decay=config.weight_decay)
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), decayed)

    def decay(updates: Any, params: Any) -> Any:
        strengths = by_group(params, config.weight_decays, config.weight_decay)
        return jax.tree.map(lambda u, p, strength: u + strength * p, updates, params, strengths)

    def scale(updates: Any, params: Any) -> Any:
        return jax.tree.map(jnp.multiply, updates, by_group(params, config.lr_factors, 1.0))

    in_groups = optax.chain(
        optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps),
        optax.stateless(decay),
        optax.scale_by_learning_rate(rate),
    )
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), in_groups, optax.stateless(scale))


def by_group(params: Mapping[str, Any], values: Mapping[str, float], otherwise: float) -> dict[str, Any]:
    """A tree like `params` of numbers: that of the first pattern found in the path, else `otherwise`."""

    def chosen(path: str) -> float:
        return next((value for pattern, value in values.items() if re.search(pattern, path)), otherwise)

    flat = traverse_util.flatten_dict(params, sep="/")
    return traverse_util.unflatten_dict({path: chosen(path) for path in flat}, sep="/")


def check_groups(config: OptimizerConfig, paths: list[str]) -> None:
    """Refuses a group without members, because a misspelt pattern would silently have no effect.

    Args:
        config: the optimiser with its groups.
        paths: paths of the parameters that train.

    Raises:
        ValueError: a pattern is found in no path, or only in paths that an earlier pattern has taken.
    """
    for name, values in (("lr_factors", config.lr_factors), ("weight_decays", config.weight_decays)):
        left = list(paths)
        for pattern in values:
            rest = [path for path in left if not re.search(pattern, path)]
            if len(rest) == len(left):
                groups = sorted({"/".join(path.split("/")[:3]) for path in left})
                raise ValueError(
                    f"optimizer.{name}: {pattern!r} is found in no parameter that trains and that no earlier pattern "
                    f"has taken. There are {', '.join(groups) or 'none left'}."
                )
            left = rest
