"""The training loop: one SPMD program over however many devices there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import time
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from inspire_fast.core.batch import Batch
from inspire_fast.data.loader import Loader
from inspire_fast.models.loss import loss
from inspire_fast.policy.contract import Contract
from inspire_fast.training.checkpoints import Checkpoints
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.initial import initial_state
from inspire_fast.training.metrics_log import MetricsLog, average, require_finite
from inspire_fast.training.preemption import PreemptedError, Preemption
from inspire_fast.training.prepare import Run, prepare, to_batch
from inspire_fast.training.sharding import batch_sharding, state_shardings
from inspire_fast.training.state import TrainState, init_state, make_step, with_params

PENDING = "pending"  # beside the loader's position: figures of steps since the last line of the log


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended.

    Attributes:
        step: of the last checkpoint.
        parameters: of the network.
        checkpoint: its folder.
        seconds: of this call.
    """

    step: int
    parameters: int
    checkpoint: Path
    seconds: float


def train(config: TrainConfig) -> TrainResult:
    """Runs `config` to its last step, from the latest checkpoint where `resume` is set.

    Raises:
        FileNotFoundError: dataset, labels, statistics or tokenizers are missing; names the command that makes them.
        FileExistsError: the run exists and neither `resume` nor `overwrite` is set.
        ValueError: a sample does not fit, the devices' memory does not suffice, the tokenizers do not fit the network's vocabulary, or a checkpoint to resume
            from was trained with another contract.
        FloatingPointError: the loss or a gradient stopped being finite.
        PreemptedError: SIGTERM came; the run was saved.
    """
    with Preemption() as preemption:
        return _train(config, preemption)


def _train(config: TrainConfig, preemption: Preemption) -> TrainResult:
    start = time.perf_counter()
    run = prepare(config)
    checkpoints = Checkpoints(config)
    loader = Loader(
        run.source,
        run.transform,
        batch_size=config.batch_size // jax.process_count(),
        seed=config.seed,
        shuffle=True,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_threads=config.loader_threads,
    )
    shapes = jax.eval_shape(lambda: init_state(config))
    shardings = state_shardings(shapes, run.mesh)
    try:
        state, pending = begin(config, checkpoints, run.contract, loader, shapes, shardings)
        advance(run, state, pending, loader, checkpoints, shardings, preemption)
    finally:
        checkpoints.close()
    return TrainResult(
        step=config.steps,
        parameters=sum(x.size for x in jax.tree.leaves(shapes.params)),
        checkpoint=config.checkpoint_dir / str(config.steps),
        seconds=time.perf_counter() - start,
    )


def advance(
    run: Run,
    state: TrainState,
    pending: Sequence[Mapping[str, float]],
    loader: Loader,
    checkpoints: Checkpoints,
    shardings: TrainState,
    preemption: Preemption,
) -> None:
    """Takes the remaining steps: logs, evaluates and saves when they are due, and when SIGTERM comes.

    Args:
        run: what `prepare` found.
        state: where to begin.
        pending: figures of steps that were taken and are not in the log yet.
        loader: gives the batches.
        checkpoints: takes the states.
        shardings: of the state.
        preemption: says when to stop.
    """
    config = run.config
    step = jax.jit(make_step(config), donate_argnums=0, out_shardings=(shardings, None))
    evaluate = jax.jit(lambda params, batch: loss(with_params(config, params), batch)[1])
    done = int(state.step)
    log = MetricsLog(checkpoints.directory / "metrics.jsonl", resume_at=done)
    rows: list[Mapping[str, Any]] = [*pending]
    name = f"train {config.name}"
    with tqdm(total=config.steps, initial=done, desc=name, unit="step", mininterval=1.0, disable=None) as bar:
        for number in range(done + 1, config.steps + 1):
            state, metrics = step(state, to_batch(next(loader), batch_sharding(run.mesh)))
            rows.append(metrics)
            bar.update()
            edge = number in (1, config.steps)
            if edge or _due(number, config.log_every):
                row = average(rows)
                rows.clear()
                if edge or _due(number, config.eval_every):
                    row |= held_out_losses(evaluate, state, run.held_out)
                log.write(number, row)
                _show(bar, number, row)
            stop = preemption.asked(number)
            if stop or number == config.steps or _due(number, config.save_every):
                figures = [{k: float(v) for k, v in row.items()} for row in jax.device_get(rows)]
                require_finite(figures)
                checkpoints.save(state, {**loader.state(), PENDING: figures}, run.files)
            if stop and number < config.steps:
                checkpoints.wait()
                raise PreemptedError(number, config.exp_name)


def held_out_losses(
    evaluate: Callable[[dict[str, Any], Batch], dict[str, jax.Array]], state: TrainState, batches: Sequence[Batch]
) -> dict[str, float]:
    """Teacher-forced losses on the held-out batches, answers and actions apart; nothing where there are none."""
    rows = [jax.device_get(evaluate(state.serving_params, batch)) for batch in batches]
    means = {k: [r[k] for r in rows if not np.isnan(r[k])] for k in ("answer_loss", "action_loss")}
    return {f"held_out_{k}": float(np.mean(v)) for k, v in means.items() if v}


def _show(bar: tqdm, number: int, row: Mapping[str, float]) -> None:
    """On a terminal, losses behind the bar; elsewhere a line."""
    bar.set_postfix({k: f"{row[k]:.3f}" for k in ("answer_loss", "action_loss") if k in row})
    if bar.disable:
        print(f"step {number}/{bar.total}", *(f"{k}={v:.4g}" for k, v in row.items()), flush=True)  # noqa: T201


def begin(
    config: TrainConfig,
    checkpoints: Checkpoints,
    contract: Contract,
    loader: Loader,
    shapes: TrainState,
    shardings: TrainState,
) -> tuple[TrainState, Sequence[Mapping[str, float]]]:
    """The fresh state, or the latest checkpoint's with the loader moved to where it stood; and figures that are not logged yet.

    Raises:
        ValueError: the checkpoint was trained with other tokenizers, statistics, script or network; names both sides.
    """
    if checkpoints.latest is None:
        return initial_state(config, shardings), ()
    saved = checkpoints.contract()
    differing = saved.differences(contract) + _other_state(saved.config, contract.config)
    if differing:
        raise ValueError(
            f"{config.checkpoint_dir} cannot be continued: it was trained with another contract (then, now).\n  "
            + "\n  ".join(differing)
        )
    like = jax.tree.map(lambda s, d: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=d), shapes, shardings)
    state, position = checkpoints.restore(like)
    loader.restore(position)
    return state, position.get(PENDING, ())


def _other_state(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Fields of the config that decide what a train state holds, or which pictures come next."""
    then, current = json.loads(json.dumps([saved, now], default=str))
    keys = ("freeze", "ema_decay", "augmentation", "seed")
    return [f"{key}: {then.get(key)!r} and {current.get(key)!r}" for key in keys if then.get(key) != current.get(key)]


def _due(number: int, every: int) -> bool:
    return every > 0 and number % every == 0
