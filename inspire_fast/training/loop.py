"""The training loop: one SPMD program over however many devices there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import logging
from pathlib import Path
import time
from typing import Any

import jax

from inspire_fast.core.batch import Batch
from inspire_fast.data.loader import Loader, LoaderConfig
from inspire_fast.training.checkpoint_writer import Checkpoints
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.datasets.fingerprints import require_unchanged
from inspire_fast.training.distributed import join
from inspire_fast.training.init_params import initial_state
from inspire_fast.training.preemption import PreemptedError, Preemption
from inspire_fast.training.preflight.compiled_step import check_memory, compile_step
from inspire_fast.training.prepare import Run, prepare, to_batch
from inspire_fast.training.reporting.metrics_log import require_finite
from inspire_fast.training.reporting.reporter import Reporter, due
from inspire_fast.training.resuming import settings_differences
from inspire_fast.training.sharding import batch_sharding, placement_table, state_shardings
from inspire_fast.training.state import Metrics, TrainState, init_state

logger = logging.getLogger(__name__)

# Saved with the loader's position: metrics of steps since the last line of the log; the datasets' fingerprints.
PENDING, DATA = "pending", "data"


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Result of a finished run.

    Attributes:
        step: step of the last checkpoint.
        parameters: number of the network's parameters.
        checkpoint: folder of the last checkpoint.
        seconds: duration of this call.
    """

    step: int
    parameters: int
    checkpoint: Path
    seconds: float


def train(config: TrainConfig) -> TrainResult:
    """Runs `config` to its last step, from the latest checkpoint if `resume` is set.

    Example:
        >>> import inspire_fast as ifa
        >>> result = ifa.train(ifa.load_config("debug"))
        >>> result.step
        2

    Raises:
        FileNotFoundError: dataset, labels, statistics or tokenizers are missing; names the command that makes them.
        FileExistsError: the run exists and neither `resume` nor `overwrite` is set.
        ValueError: a sample does not fit, the devices' memory does not suffice, the tokenizers do not fit the network's
            vocabulary, or a checkpoint to resume from was trained with another contract.
        FloatingPointError: the loss or a gradient stopped being finite.
        DiskFullError: the disk is too full for a checkpoint, the log or an image; complete checkpoints are intact.
        PreemptedError: SIGTERM came; the run was saved.
    """
    join(config.distributed)
    with Preemption() as preemption:
        return _train(config, preemption)


def _train(config: TrainConfig, preemption: Preemption) -> TrainResult:
    start = time.perf_counter()
    run = prepare(config)
    checkpoints = Checkpoints(
        config.checkpoint_dir, keep=config.checkpoint.keep, resume=config.resume, overwrite=config.overwrite
    )
    loader = Loader(
        run.source,
        run.transform,
        LoaderConfig(
            batch_size=config.batch_size // jax.process_count(),
            seed=config.seed,
            shuffle=True,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            num_threads=config.data.loader_threads,
        ),
    )
    try:
        pending = resume_stream(run, checkpoints, loader)  # before anything is compiled, which takes minutes
        shapes = jax.eval_shape(lambda: init_state(config))
        _steps(run, checkpoints, loader, pending, shapes, preemption)
    finally:
        checkpoints.close()
    return TrainResult(
        step=config.steps,
        parameters=sum(x.size for x in jax.tree.leaves(shapes.params)),
        checkpoint=config.checkpoint_dir / str(config.steps),
        seconds=time.perf_counter() - start,
    )


def _steps(
    run: Run,
    checkpoints: Checkpoints,
    loader: Loader,
    pending: Sequence[Mapping[str, float]],
    shapes: TrainState,
    preemption: Preemption,
) -> None:
    """Compiles the step, restores or makes the state, and takes the steps."""
    config, shardings = run.config, state_shardings(shapes, run.mesh)
    if jax.process_index() == 0:
        logger.info(
            "Parameters on the mesh; moments and EMA are placed like them:\n%s",
            placement_table(shapes.params, shardings.params),
        )
    step = compile_step(config, run.mesh)
    check_memory(config, run.mesh, step)
    if checkpoints.latest is None:
        state = initial_state(config, shardings)
    else:
        like = jax.tree.map(lambda s, d: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=d), shapes, shardings)
        state = checkpoints.restore(like)
    with checkpoints.disk_full_reported():
        advance(run, step, state, pending, loader, checkpoints, preemption)


def advance(
    run: Run,
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
    state: TrainState,
    pending: Sequence[Mapping[str, float]],
    loader: Loader,
    checkpoints: Checkpoints,
    preemption: Preemption,
) -> None:
    """Takes the remaining steps; reports and saves when it is due, and saves when SIGTERM comes.

    Args:
        run: result of `prepare`.
        step: the compiled step.
        state: state to start with.
        pending: metrics of steps that were taken and are not in the log yet.
        loader: source of the batches.
        checkpoints: destination of the states.
        preemption: tells when to stop.
    """
    config = run.config
    done = int(state.step)
    rows: list[Mapping[str, Any]] = [*pending]
    with Reporter(run, checkpoints.directory, done=done) as reporter:
        if not done:
            reporter.start(state)
        for number in range(done + 1, config.steps + 1):
            arrays = reporter.throughput.next(loader, rows[-1]["loss"] if number > done + 1 and rows else None)
            state, metrics = step(state, to_batch(arrays, batch_sharding(run.mesh)))
            rows.append(metrics)
            if reporter.step(number, rows, state, arrays):
                rows.clear()
            stop = preemption.asked(number)
            if stop or number == config.steps or due(number, config.checkpoint.every):
                metrics = [{k: float(v) for k, v in row.items()} for row in jax.device_get(rows)]  # waits for the steps
                with reporter.throughput.paused(state):
                    require_finite(metrics)
                    checkpoints.save(state, {**loader.state(), PENDING: metrics, DATA: run.data}, run.files)
            if stop and number < config.steps:
                checkpoints.wait()
                raise PreemptedError(number, config.exp_name)


def resume_stream(run: Run, checkpoints: Checkpoints, loader: Loader) -> Sequence[Mapping[str, float]]:
    """Puts the loader where the latest checkpoint left it; returns the metrics that are not logged yet.

    Raises:
        ValueError: the checkpoint was trained with other tokenizers, statistics, script, network or settings, or the
            data changed since; names the differences.
    """
    if checkpoints.latest is None:
        return ()
    saved = checkpoints.contract()
    differing = saved.differences(run.contract) + settings_differences(saved.config, run.contract.config)
    if differing:
        raise ValueError(
            f"{run.config.checkpoint_dir} cannot be continued: it was trained with another contract (then, now).\n  "
            + "\n  ".join(differing)
            + "\nResume with the settings that it began with, or start a new run from its parameters (`--init-from "
            f"{checkpoints.directory / str(checkpoints.latest) / 'params'} --exp-name <new>`)."
        )
    position = checkpoints.position()
    loader.restore(position)
    require_unchanged(position.get(DATA, {}), run.data)
    return position.get(PENDING, ())
