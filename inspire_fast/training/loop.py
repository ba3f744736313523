"""The training loop: one SPMD program over however many devices there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
import json
import logging
from pathlib import Path
import time
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from inspire_fast.core.batch import Batch
from inspire_fast.data.asking import Asking
from inspire_fast.data.loader import Loader
from inspire_fast.data.mixture import spread
from inspire_fast.data.render import TrainingTransform
from inspire_fast.data.statistics import Source
from inspire_fast.models.loss import loss
from inspire_fast.policy.contract import Contract
from inspire_fast.training.assets import (
    contract_files,
    load_stats,
    load_vocabulary,
    make_contract,
    make_transform,
)
from inspire_fast.training.checkpoints import Checkpoints, latest_step
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.initial import check_initial, initial_state
from inspire_fast.training.plan import device_memory, plan_memory, require_memory
from inspire_fast.training.preemption import PreemptedError, Preemption
from inspire_fast.training.sharding import batch_sharding, make_mesh, state_shardings
from inspire_fast.training.sources import described, joined, open_parts, open_source
from inspire_fast.training.state import TrainState, init_state, learning_rate, make_step, with_params

logger = logging.getLogger(__name__)

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


def to_batch(arrays: Mapping[str, np.ndarray], sharding: jax.sharding.Sharding) -> Batch:
    """A loader's arrays on the devices; cameras are never masked in pi0-FAST."""

    def put(array: np.ndarray) -> jax.Array:
        return jax.make_array_from_process_local_data(sharding, array)

    images = {k.removeprefix("image:"): put(v) for k, v in arrays.items() if k.startswith("image:")}
    rest = {k: put(v) for k, v in arrays.items() if not k.startswith("image:")}
    shown = put(np.ones(len(arrays["ids"]), bool))
    return Batch(images=images, image_mask=dict.fromkeys(images, shown), **rest)


def own_rows(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """This process's rows of a batch that every process has made."""
    index, count = jax.process_index(), jax.process_count()
    return {k: v[len(v) * index // count : len(v) * (index + 1) // count] for k, v in arrays.items()}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A config with everything it needs, found and checked; nothing on disk has been touched.

    Attributes:
        held_out: fixed batches for the held-out losses, on the devices.
        files: what each checkpoint carries beside its arrays.
    """

    config: TrainConfig
    mesh: jax.sharding.Mesh
    source: Source
    transform: TrainingTransform
    contract: Contract
    files: Mapping[str, bytes]
    held_out: list[Batch]


def prepare(config: TrainConfig) -> Run:
    """Finds and checks what a run needs; see `train` for what it raises."""
    parts = open_parts(config, "train")
    stats, vocabulary = load_stats(config), load_vocabulary(config)
    transform = make_transform(config, vocabulary, stats)
    mesh = make_mesh(config.mesh)
    if mesh.shape["data"] * mesh.shape["fsdp"] % jax.process_count():
        raise ValueError(
            f"{jax.process_count()} processes cannot each have rows of their own over mesh {dict(mesh.shape)}: data x fsdp must "
            "be a multiple of the processes. Lower --mesh.tensor: it must not reach across machines."
        )
    if config.batch_size % (config.accumulate * mesh.shape["data"] * mesh.shape["fsdp"]):
        raise ValueError(
            f"batch_size {config.batch_size} does not divide into {config.accumulate} piece(s) over mesh {dict(mesh.shape)}."
        )
    _plan(config, mesh)
    for part in parts:
        for sample in (0, len(part.source) - 1):
            transform(part.source[sample], np.random.default_rng(0))
    for line in described(parts):
        logger.info(line)
    fixed = fixed_batches(config, open_source(config, "held_out"), transform)
    contract = make_contract(config, vocabulary, stats)
    learning_rate(config.optimizer, config.steps)
    if not config.resume or latest_step(config.checkpoint_dir) is None:
        check_initial(config)
    _warn_of_double_deltas(config)
    return Run(
        config=config,
        mesh=mesh,
        source=joined(parts),
        transform=transform,
        contract=contract,
        files=contract_files(config, contract),
        held_out=[to_batch(own_rows(batch), batch_sharding(mesh)) for batch in fixed],
    )


def _plan(config: TrainConfig, mesh: jax.sharding.Mesh) -> None:
    plan, available = plan_memory(config, mesh), device_memory()
    logger.info("Mesh %s; memory plan: %s.", dict(mesh.shape), plan)
    try:
        require_memory(config, plan, available)
    except ValueError as error:
        if config.memory == "refuse":
            raise
        logger.warning("%s", error)


def _warn_of_double_deltas(config: TrainConfig) -> None:
    if any(config.delta) and not any(config.embodiment.delta):
        logger.warning(
            "data.delta makes the actions of robot %r relative to its state, but they are trained as they are: on LIBERO, "
            "whose actions are deltas already, this cost pi0 25 points of LIBERO-10 (openpi PR 1048). Keep it only to go on "
            "with weights that were trained so.",
            config.robot,
        )


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


def average(metrics: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over steps; steps without a figure (NaN) do not count, and a figure that no step has is left out.

    Raises:
        FloatingPointError: see `require_finite`.
    """
    rows = jax.device_get(list(metrics))
    require_finite(rows)
    columns = {k: np.array([r[k] for r in rows], np.float64) for k in rows[0]}
    return {k: float(np.nanmean(v)) for k, v in columns.items() if not np.isnan(v).all()}


def require_finite(rows: Sequence[Mapping[str, Any]]) -> None:
    """Asked before every checkpoint and log line, so that no broken state is ever saved.

    Raises:
        FloatingPointError: a loss or a gradient is not finite.
    """
    for row in rows:
        if not (np.isfinite(row["loss"]) and np.isfinite(row["grad_norm"])):
            raise FloatingPointError(
                f"The loss became {float(row['loss'])} with gradient norm {float(row['grad_norm'])}. Lower the learning rate "
                "or look at the data; the last checkpoint was written before this."
            )


def fixed_batches(config: TrainConfig, held_out: Source, transform: TrainingTransform) -> list[dict[str, np.ndarray]]:
    """About `eval_samples` held-out samples, evenly spread, in full batches; a short set is repeated to fill one.

    Those of several datasets come in the shares that they are trained in.
    """
    if not config.eval_samples or not len(held_out):
        return []
    size = config.batch_size
    count = max(min(config.eval_samples, len(held_out)) // size, 1) * size
    clean = replace(transform, state_noise=0.0, asking=Asking())
    rows = [clean(held_out[i], np.random.default_rng(0)) for i in spread(held_out, count)]
    return [{k: np.stack([r[k] for r in rows[i : i + size]]) for k in rows[0]} for i in range(0, len(rows), size)]


class MetricsLog:
    """`metrics.jsonl`: one object per line. Lines past the step that a run resumes at are dropped, so none is double."""

    def __init__(self, path: Path, *, resume_at: int) -> None:
        self._path = path
        if path.exists() and jax.process_index() == 0:
            kept = [line for line in self._lines(path) if json.loads(line)["step"] <= resume_at]
            partial = path.with_suffix(".partial")
            partial.write_text("".join(line + "\n" for line in kept))
            partial.replace(path)

    @staticmethod
    def _lines(path: Path) -> list[str]:
        """Complete lines; what a killed process left behind the last newline is none."""
        return path.read_text().split("\n")[:-1]

    def write(self, step: int, row: Mapping[str, float]) -> None:
        """Appends one line."""
        if jax.process_index() == 0:
            with self._path.open("a") as file:
                file.write(json.dumps({"step": step, "time": time.time(), **row}) + "\n")

    @staticmethod
    def read(path: Path) -> list[dict[str, float]]:
        """Every line."""
        return [json.loads(line) for line in MetricsLog._lines(path)]
