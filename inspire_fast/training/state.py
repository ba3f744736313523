"""The train state and one step of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flax import nnx, traverse_util
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import optax

from inspire_fast.core.batch import TARGET_ACTION, TARGET_ANSWER, Batch
from inspire_fast.models.config import ModelConfig
from inspire_fast.models.freeze import FreezeConfig
from inspire_fast.models.loss import loss
from inspire_fast.models.narrow_gradient import NarrowGradient, read_once
from inspire_fast.models.pi0_fast import Pi0Fast, abstract_model
from inspire_fast.models.placement import on_mesh, place
from inspire_fast.training.augment import augment
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.optimizer import learning_rate, make_optimizer
from inspire_fast.training.sharding import place_like_parameters
from inspire_fast.training.stochastic_rounding import rounded, widened

Metrics = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything that training changes.

    Attributes:
        step: int32, steps taken.
        params: nested dict by our parameter paths: those that train in float32 (bfloat16 with `precision="bfloat16"`),
            frozen ones in `freeze.dtype`.
        ema: exponential moving average of those that train, or None.
        opt_state: optax's state of those that train; its moments have their dtype.
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


def trained_paths(config: ModelConfig, freeze: FreezeConfig) -> list[str]:
    """Our paths of the parameters that train."""
    shapes = nnx.to_pure_dict(nnx.state(abstract_model(config), nnx.Param))
    return list(traverse_util.flatten_dict(split(shapes, freeze)[0], sep="/"))


def init_state(config: TrainConfig, params: dict[str, Any] | None = None) -> TrainState:
    """The state before the first step.

    Args:
        config: the run.
        params: a nested dictionary to start from, by our paths; None draws fresh ones from the config's seed.
    """
    if params is None:
        params = nnx.to_pure_dict(nnx.state(Pi0Fast(config.model, rngs=nnx.Rngs(config.seed)), nnx.Param))
    trainable, frozen = split(params, config.freeze)
    kept, trained = jnp.dtype(config.freeze.dtype), jnp.dtype(config.trained_dtype)
    trainable: dict[str, Any] = jax.tree.map(lambda x: x.astype(trained), trainable)
    return TrainState(
        step=jnp.int32(0),
        params=join(jax.tree.map(lambda x: x.astype(kept), frozen), trainable),
        # A copy, because the step donates its input, and a donated buffer may not appear twice.
        ema=None if config.optimizer.ema_decay is None else jax.tree.map(jnp.copy, trainable),
        opt_state=make_optimizer(config.optimizer, config.steps).init(trainable),
    )


def with_params(config: ModelConfig, params: dict[str, Any]) -> Pi0Fast:
    """The network holding `params` (no copy)."""
    graph, state = nnx.split(abstract_model(config))
    nnx.replace_by_pure_dict(state, params)
    return nnx.merge(graph, state)


def make_gradient(
    config: TrainConfig, mesh: Mesh | None = None
) -> Callable[[dict[str, Any], Batch], tuple[dict[str, Any], Metrics]]:
    """(parameters, batch) -> (gradient of the mean loss by the parameters that train, metrics).

    Args:
        config: the run.
        mesh: where activations and gradients are placed; None leaves that to the compiler.
    """

    def gradient(params: dict[str, Any], batch: Batch) -> tuple[dict[str, Any], Metrics]:
        with on_mesh(mesh):
            return placed(params, batch)

    def placed(params: dict[str, Any], batch: Batch) -> tuple[dict[str, Any], Metrics]:
        trainable, frozen = split(params, config.freeze)
        by = narrowed(config, trainable) if mesh is None or mesh.size == 1 else trainable

        def objective(by: dict[str, Any], rows: Batch) -> tuple[jax.Array, Metrics]:
            read = jax.tree.map(lambda x, w: x if x.dtype == w.dtype else NarrowGradient(w, x), by, trainable)
            return loss(with_params(config.model, join(frozen, read)), rows, config.objective)

        def add(total: dict[str, Any], microbatch: Batch) -> tuple[dict[str, Any], Metrics]:
            gradients, metrics = of_rows(microbatch)
            return jax.tree.map(jnp.add, total, gradients), metrics

        def of_rows(rows: Batch) -> tuple[dict[str, Any], Metrics]:
            rows = jax.tree.map(lambda x: place(x, "batch"), rows)
            gradients, metrics = jax.grad(objective, has_aux=True)(by, rows)
            return place_like_parameters(gradients), metrics

        if config.grad_accum_steps == 1:
            return of_rows(batch)
        microbatches = into_microbatches(batch, config.grad_accum_steps)
        zeros = place_like_parameters(jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), trainable))
        total, metrics = jax.lax.scan(add, zeros, microbatches)
        return jax.tree.map(lambda x: x / config.grad_accum_steps, total), metrics_of_batch(metrics, microbatches)

    return gradient


def narrowed(config: TrainConfig, trainable: dict[str, Any]) -> dict[str, Any]:
    """What the gradient is taken by: float32 weights that bfloat16 products read once are zeros in bfloat16.

    Only on one device: between several, gradients are summed, and sums are float32.
    """
    dtype = jnp.dtype(config.model.dtype)

    def by(path: str, weight: jax.Array) -> jax.Array:
        return jnp.zeros_like(weight, dtype) if read_once(path) and weight.dtype.itemsize > dtype.itemsize else weight

    flat: dict[str, Any] = traverse_util.flatten_dict(trainable, sep="/")
    return traverse_util.unflatten_dict({path: by(path, weight) for path, weight in flat.items()}, sep="/")


def into_microbatches(batch: Batch, count: int) -> Batch:
    """`[b, ...]` -> `[count, b / count, ...]`. A microbatch is every `count`-th row, so no row changes its device."""
    return jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, count, *x.shape[1:]), 1, 0), batch)


def metrics_of_batch(metrics: Metrics, microbatches: Batch) -> Metrics:
    """Metrics of the whole batch, from those of its microbatches `[m]`."""
    kinds = {"answer": TARGET_ANSWER, "action": TARGET_ACTION}
    counts = {name: (microbatches.target_kind == kind).sum(axis=(1, 2)) for name, kind in kinds.items()}

    def mean(name: str, values: jax.Array) -> jax.Array:
        count = counts.get(name.partition("_")[0], jnp.ones_like(values))
        return jnp.sum(jnp.where(count > 0, values, 0) * count) / count.sum()  # 0 / 0 is NaN: no such token

    return {name: mean(name, values) for name, values in metrics.items()}


def make_update(config: TrainConfig) -> Callable[[TrainState, dict[str, Any]], TrainState]:
    """(state, gradient) -> the next state: clipping, AdamW, EMA; in float32, whatever the state is stored in."""
    optimizer, decay = make_optimizer(config.optimizer, config.steps), config.optimizer.ema_decay

    def update(state: TrainState, gradients: dict[str, Any]) -> TrainState:
        trainable, _ = split(state.params, config.freeze)
        before: Any = (trainable, state.ema, state.opt_state)
        wide, ema, opt_state = widened(before)
        updates, opt_state = optimizer.update(widened(gradients), opt_state, wide)
        trained: Any = optax.apply_updates(wide, updates)
        if ema is not None and decay is not None:
            ema = optax.incremental_update(trained, ema, 1 - decay)
        after: Any = (trained, ema, opt_state)
        if config.precision == "bfloat16":
            # The key depends on the step's number alone, so that a resumed run rounds as an undisturbed one.
            after = rounded(after, before, jax.random.fold_in(jax.random.key(~config.seed), state.step))
        trained, ema, opt_state = after
        return TrainState(step=state.step + 1, params=join(state.params, trained), ema=ema, opt_state=opt_state)

    return update


def augmentation_key(seed: int, taken: int | jax.Array) -> jax.Array:
    """The augmentation key of the step after `taken` steps; no other state matters, so a resumed run repeats it."""
    return jax.random.fold_in(jax.random.key(seed), taken)


def make_step(
    config: TrainConfig, mesh: Mesh | None = None
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The pure training step; the caller compiles it with the shardings of state and batch on the same mesh."""
    gradient, update = make_gradient(config, mesh), make_update(config)
    schedule = learning_rate(config.optimizer, config.steps)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        if config.data.augmentation != "none":
            key, recipe = augmentation_key(config.seed, state.step), config.data.augmentation
            with on_mesh(mesh):
                placement, processes = batch.placement, jax.process_count()
                images = augment(batch.images, key, recipe, processes=processes, placement=placement)
                batch = replace(batch, images=images)
        gradients, metrics = gradient(state.params, batch)
        norms = {tower: optax.tree.norm(widened(tree)) for tower, tree in gradients.items()}
        metrics |= {f"grad_norm_{tower}": norm for tower, norm in norms.items()}
        metrics |= {"grad_norm": optax.tree.norm(list(norms.values())), "learning_rate": schedule(state.step)}
        return update(state, gradients), metrics  # pyright: ignore[reportReturnType]

    return step
