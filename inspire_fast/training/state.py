"""The train state and one step of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import optax

from inspire_fast.core.batch import Batch
from inspire_fast.models.loss import loss
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.training.config import OptimizerConfig, TrainConfig


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything that training changes.

    Attributes:
        step: int32, steps taken.
        params: nested dict of float32 masters, by our parameter paths.
        ema: their moving average, or None.
        opt_state: optax's.
    """

    step: jax.Array
    params: dict[str, Any]
    ema: dict[str, Any] | None
    opt_state: Any

    @property
    def serving_params(self) -> dict[str, Any]:
        """The parameters that are evaluated, saved and served."""
        return self.params if self.ema is None else self.ema


def learning_rate(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Linear warm-up from peak / (warmup + 1), cosine decay to `end_lr` (openpi's schedule)."""
    decay = config.decay_steps or steps
    if config.warmup_steps >= decay:
        raise ValueError(f"warmup_steps={config.warmup_steps} must be less than the {decay} steps of the schedule.")
    return optax.warmup_cosine_decay_schedule(
        init_value=config.peak_lr / (config.warmup_steps + 1),
        peak_value=config.peak_lr,
        warmup_steps=config.warmup_steps,
        decay_steps=decay,
        end_value=config.end_lr,
    )


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Gradient clipping by global norm, then AdamW."""
    adamw = optax.adamw(
        learning_rate(config, steps), b1=config.b1, b2=config.b2, eps=config.eps, weight_decay=config.weight_decay
    )
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)


def build_model(config: TrainConfig) -> Pi0Fast:
    """The network with fresh parameters from the config's seed."""
    return Pi0Fast(config.model, rngs=nnx.Rngs(config.seed))


def init_state(config: TrainConfig) -> TrainState:
    """The state before the first step."""
    params = nnx.to_pure_dict(nnx.state(build_model(config), nnx.Param))
    return TrainState(
        step=jnp.int32(0),
        params=params,
        # A copy: the step donates its input, and a donated buffer may not be named twice.
        ema=None if config.ema_decay is None else jax.tree.map(jnp.copy, params),
        opt_state=make_optimizer(config.optimizer, config.steps).init(params),
    )


def with_params(config: TrainConfig, params: dict[str, Any]) -> Pi0Fast:
    """The network holding `params` (no copy)."""
    model = nnx.eval_shape(lambda: build_model(config))
    graph, state = nnx.split(model)
    nnx.replace_by_pure_dict(state, params)
    return nnx.merge(graph, state)


def make_step(config: TrainConfig) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """The pure training step; compile it with shardings at the caller."""
    optimizer = make_optimizer(config.optimizer, config.steps)
    schedule = learning_rate(config.optimizer, config.steps)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        def objective(params: dict[str, Any]) -> tuple[jax.Array, dict[str, jax.Array]]:
            return loss(with_params(config, params), batch)

        (_, metrics), gradients = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema, decay = state.ema, config.ema_decay
        if ema is not None and decay is not None:
            ema = jax.tree.map(lambda old, new: old * decay + new * (1 - decay), ema, params)
        metrics |= {"grad_norm": optax.tree.norm(gradients), "learning_rate": schedule(state.step)}
        return TrainState(step=state.step + 1, params=params, ema=ema, opt_state=opt_state), metrics  # pyright: ignore[reportArgumentType]

    return step
