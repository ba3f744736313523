"""The training loop: one SPMD program over however many devices there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import time
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from inspire_fast.core.batch import Batch
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.loader import Loader
from inspire_fast.data.render import TrainingTransform
from inspire_fast.models.loss import loss
from inspire_fast.policy.contract import Contract
from inspire_fast.training.assets import (
    contract_files,
    load_stats,
    load_vocabulary,
    make_contract,
    make_transform,
    open_source,
)
from inspire_fast.training.checkpoints import Checkpoints
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.sharding import batch_sharding, make_mesh, state_shardings
from inspire_fast.training.state import TrainState, init_state, make_step, with_params


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


def train(config: TrainConfig) -> TrainResult:
    """Runs `config` to its last step, from the latest checkpoint where `resume` is set.

    Raises:
        FileNotFoundError: dataset, labels, statistics or tokenizers are missing; names the command that makes them.
        FileExistsError: the run exists and neither `resume` nor `overwrite` is set.
        ValueError: a sample does not fit, or the tokenizers do not fit the network's vocabulary.
    """
    start = time.perf_counter()
    source = open_source(config, "train")
    held_out = open_source(config, "held_out")
    stats = load_stats(config)
    vocabulary = load_vocabulary(config)
    transform = make_transform(config, vocabulary, stats)
    mesh = make_mesh(config.mesh)
    if config.batch_size % (mesh.shape["data"] * mesh.shape["fsdp"]):
        raise ValueError(f"batch_size {config.batch_size} does not divide over mesh {dict(mesh.shape)}.")
    contract = make_contract(config, vocabulary, stats)
    files = contract_files(config, contract)
    fixed = fixed_batches(config, held_out, transform)
    update = make_step(config)
    for sample in (0, len(source) - 1):  # what does not fit is refused before an existing run is touched
        transform(source[sample], np.random.default_rng(0))
    checkpoints = Checkpoints(config)
    loader = Loader(
        source,
        transform,
        batch_size=config.batch_size // jax.process_count(),
        seed=config.seed,
        shuffle=True,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_threads=config.loader_threads,
    )
    shapes = jax.eval_shape(lambda: init_state(config))
    shardings = state_shardings(shapes, mesh)
    state = begin(config, checkpoints, contract, loader, shapes, shardings)
    step = jax.jit(update, donate_argnums=0, out_shardings=(shardings, None))
    log = MetricsLog(checkpoints.directory / "metrics.jsonl", resume_at=int(state.step))
    held_out_batches = [to_batch(b, batch_sharding(mesh)) for b in fixed]

    @jax.jit
    def held_out_loss(params: dict[str, Any], batch: Batch) -> dict[str, jax.Array]:
        return loss(with_params(config, params), batch)[1]

    def evaluate(state: TrainState) -> dict[str, float]:
        rows = [jax.device_get(held_out_loss(state.serving_params, b)) for b in held_out_batches]
        return {f"held_out_{k}": float(np.nanmean([r[k] for r in rows])) for k in ("answer_loss", "action_loss")}

    parameters = sum(x.size for x in jax.tree.leaves(shapes.params))
    bar = tqdm(
        total=config.steps,
        initial=int(state.step),
        desc=f"train {config.name}",
        unit="step",
        mininterval=1.0,
        disable=None,
    )
    pending: list[dict[str, jax.Array]] = []
    batches: Iterator[Mapping[str, np.ndarray]] = iter(loader)
    try:
        for number in range(int(state.step) + 1, config.steps + 1):
            state, metrics = step(state, to_batch(next(batches), batch_sharding(mesh)))
            pending.append(metrics)
            bar.update()
            last = number == config.steps
            if last or number == 1 or _due(number, config.log_every):
                row = average(pending)
                pending.clear()
                if held_out_batches and (last or number == 1 or _due(number, config.eval_every)):
                    row |= evaluate(state)
                log.write(number, row)
                bar.set_postfix({k: f"{row[k]:.3f}" for k in ("answer_loss", "action_loss") if k in row})
                if bar.disable:  # not a terminal: lines instead of a bar
                    print(f"step {number}/{config.steps}", *(f"{k}={v:.4g}" for k, v in row.items()), flush=True)  # noqa: T201
            if last or _due(number, config.save_every):
                require_finite(jax.device_get(pending))
                checkpoints.save(state, loader.state(), files)
    finally:
        bar.close()
        checkpoints.wait()
        checkpoints.close()
    return TrainResult(
        step=config.steps,
        parameters=parameters,
        checkpoint=config.checkpoint_dir / str(config.steps),
        seconds=time.perf_counter() - start,
    )


def begin(
    config: TrainConfig,
    checkpoints: Checkpoints,
    contract: Contract,
    loader: Loader,
    shapes: TrainState,
    shardings: TrainState,
) -> TrainState:
    """The fresh state, or the latest checkpoint's with the loader moved to where it stood.

    Raises:
        ValueError: the checkpoint was trained with other tokenizers, statistics, script or network; names both sides.
    """
    if checkpoints.latest is None:
        return jax.jit(lambda: init_state(config), out_shardings=shardings)()
    differing = checkpoints.contract().differences(contract)
    if differing:
        raise ValueError(
            f"{config.checkpoint_dir} cannot be continued: it was trained with another contract (then, now).\n  "
            + "\n  ".join(differing)
        )
    like = jax.tree.map(lambda s, d: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=d), shapes, shardings)
    state, position = checkpoints.restore(like)
    loader.restore(position)
    return state


def _due(number: int, every: int) -> bool:
    return every > 0 and number % every == 0


def average(metrics: list[dict[str, jax.Array]]) -> dict[str, float]:
    """Means over steps; steps without a figure (NaN) do not count, and a figure that no step has is left out.

    Raises:
        FloatingPointError: see `require_finite`.
    """
    rows = jax.device_get(metrics)
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


def fixed_batches(
    config: TrainConfig, held_out: ChunkSource, transform: TrainingTransform
) -> list[dict[str, np.ndarray]]:
    """About `eval_samples` held-out samples, evenly spread, in full batches; a short set is repeated to fill one."""
    if not config.eval_samples or not len(held_out):
        return []
    size = config.batch_size
    count = max(min(config.eval_samples, len(held_out)) // size, 1) * size
    index = np.linspace(0, len(held_out) - 1, count).round().astype(int)
    rows = [transform(held_out[int(i)], np.random.default_rng(0)) for i in index]
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
