"""The train state and one step of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flax import nnx, traverse_util
import jax
import jax.numpy as jnp
import optax

from inspire_fast.core.batch import TARGET_ACTION, TARGET_ANSWER, Batch
from inspire_fast.models.freeze import FreezeConfig
from inspire_fast.models.loss import loss
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.training.augment import augment
from inspire_fast.training.config import OptimizerConfig, TrainConfig

Metrics = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything that training changes.

    Attributes:
        step: int32, steps taken.
        params: nested dict by our parameter paths: float32 masters, and frozen ones in the dtype that they are kept in.
        ema: moving average of those that train, or None.
        opt_state: optax's, of those that train.
    """

    step: jax.Array
    params: dict[str, Any]
    ema: dict[str, Any] | None
    opt_state: Any

    @property
    def serving_params(self) -> dict[str, Any]:
        """The parameters that are evaluated, saved and served."""
        return self.params if self.ema is None else join(self.params, self.ema)


def split(params: dict[str, Any], freeze: FreezeConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters that train and the frozen ones, each a nested dictionary without the other's leaves."""
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(params)
    frozen = {path for path in flat if freeze.freezes("/".join(path))}
    trainable = {path: value for path, value in flat.items() if path not in frozen}
    return traverse_util.unflatten_dict(trainable), traverse_util.unflatten_dict({p: flat[p] for p in frozen})


def join(params: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`params` with the leaves of `over` in place of its own; leaves that either lacks come from the other."""
    return traverse_util.unflatten_dict({**traverse_util.flatten_dict(params), **traverse_util.flatten_dict(over)})


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


def init_state(config: TrainConfig, params: dict[str, Any] | None = None) -> TrainState:
    """The state before the first step.

    Args:
        config: the run.
        params: a nested dictionary to start from, by our paths; None draws fresh ones from the config's seed.
    """
    if params is None:
        params = nnx.to_pure_dict(nnx.state(build_model(config), nnx.Param))
    trainable, frozen = split(params, config.freeze)
    kept = jnp.dtype(config.freeze.dtype)
    return TrainState(
        step=jnp.int32(0),
        params=join(jax.tree.map(lambda x: x.astype(kept), frozen), trainable),
        # A copy: the step donates its input, and a donated buffer may not be named twice.
        ema=None if config.ema_decay is None else jax.tree.map(jnp.copy, trainable),
        opt_state=make_optimizer(config.optimizer, config.steps).init(trainable),
    )


def with_params(config: TrainConfig, params: dict[str, Any]) -> Pi0Fast:
    """The network holding `params` (no copy)."""
    model = nnx.eval_shape(lambda: build_model(config))
    graph, state = nnx.split(model)
    nnx.replace_by_pure_dict(state, params)
    return nnx.merge(graph, state)


def make_gradient(config: TrainConfig) -> Callable[[dict[str, Any], Batch], tuple[dict[str, Any], Metrics]]:
    """(parameters, batch) -> (the gradient of the mean loss by those that train, metrics); nothing is kept for frozen ones."""

    def gradient(params: dict[str, Any], batch: Batch) -> tuple[dict[str, Any], Metrics]:
        trainable, frozen = split(params, config.freeze)

        def objective(trainable: dict[str, Any], part: Batch) -> tuple[jax.Array, Metrics]:
            return loss(with_params(config, join(frozen, trainable)), part)

        def take(total: dict[str, Any], part: Batch) -> tuple[dict[str, Any], Metrics]:
            gradients, metrics = jax.grad(objective, has_aux=True)(trainable, part)
            return jax.tree.map(jnp.add, total, gradients), metrics

        if config.accumulate == 1:
            return jax.grad(objective, has_aux=True)(trainable, batch)
        parts = pieces(batch, config.accumulate)
        total, metrics = jax.lax.scan(take, jax.tree.map(jnp.zeros_like, trainable), parts)
        return jax.tree.map(lambda x: x / config.accumulate, total), whole_metrics(metrics, parts)

    return gradient


def pieces(batch: Batch, count: int) -> Batch:
    """`[b, ...]` -> `[count, b / count, ...]`. Every `count`-th row goes into one piece, so that no row leaves its device."""
    return jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, count, *x.shape[1:]), 1, 0), batch)


def whole_metrics(metrics: Metrics, parts: Batch) -> Metrics:
    """What `loss` would have said of the whole batch, from what it said of its pieces `[m]`."""
    kinds = {"answer": TARGET_ANSWER, "action": TARGET_ACTION}
    counts = {name: (parts.target_kind == kind).sum(axis=(1, 2)) for name, kind in kinds.items()}

    def mean(name: str, values: jax.Array) -> jax.Array:
        count = counts.get(name.partition("_")[0], jnp.ones_like(values))
        return jnp.sum(jnp.where(count > 0, values, 0) * count) / count.sum()  # 0 / 0 is NaN: no such token

    return {name: mean(name, values) for name, values in metrics.items()}


def make_update(config: TrainConfig) -> Callable[[TrainState, dict[str, Any]], TrainState]:
    """(state, gradient) -> the next state: clipping, AdamW, the average."""
    optimizer, decay = make_optimizer(config.optimizer, config.steps), config.ema_decay

    def update(state: TrainState, gradients: dict[str, Any]) -> TrainState:
        trainable, _ = split(state.params, config.freeze)
        updates, opt_state = optimizer.update(gradients, state.opt_state, trainable)
        trained: Any = optax.apply_updates(trainable, updates)
        ema: Any = state.ema
        if ema is not None and decay is not None:
            ema = optax.incremental_update(trained, ema, 1 - decay)
        return TrainState(step=state.step + 1, params=join(state.params, trained), ema=ema, opt_state=opt_state)

    return update


def make_step(config: TrainConfig) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The pure training step; compile it with shardings at the caller."""
    gradient, update = make_gradient(config), make_update(config)
    schedule = learning_rate(config.optimizer, config.steps)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        if config.augmentation != "none":
            # From the step's number alone: a run that is resumed goes on with the same pictures.
            key = jax.random.fold_in(jax.random.key(config.seed), state.step)
            batch = replace(
                batch, images=augment(batch.images, key, config.augmentation, processes=jax.process_count())
            )
        gradients, metrics = gradient(state.params, batch)
        metrics |= {"grad_norm": optax.tree.norm(gradients), "learning_rate": schedule(state.step)}
        return update(state, gradients), metrics  # pyright: ignore[reportReturnType]

    return step
