"""The training loop: one SPMD program over however many devices there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    files = contract_files(config, make_contract(config, vocabulary, stats))
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
    if checkpoints.latest is None:
        state = jax.jit(lambda: init_state(config), out_shardings=shardings)()
    else:
        like = jax.tree.map(lambda s, d: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=d), shapes, shardings)
        state, position = checkpoints.restore(like)
        loader.restore(position)
    step = jax.jit(make_step(config), donate_argnums=0, out_shardings=(shardings, None))
    log = MetricsLog(checkpoints.directory / "metrics.jsonl", resume_at=int(state.step))
    held_out_batches = [to_batch(b, batch_sharding(mesh)) for b in fixed_batches(config, held_out, transform)]

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


def _due(number: int, every: int) -> bool:
    return every > 0 and number % every == 0


def average(metrics: list[dict[str, jax.Array]]) -> dict[str, float]:
    """Means over steps; steps without a figure (NaN) do not count, and a figure that no step has is left out.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    rows = jax.device_get(metrics)
    if not all(np.isfinite(r["loss"]) for r in rows):
        raise FloatingPointError(
            f"The loss became {[float(r['loss']) for r in rows][-1]}. Lower the learning rate or look at the data; the last "
            "checkpoint is intact."
        )
    columns = {k: np.array([r[k] for r in rows], np.float64) for k in rows[0]}
    return {k: float(np.nanmean(v)) for k, v in columns.items() if not np.isnan(v).all()}


def fixed_batches(
    config: TrainConfig, held_out: ChunkSource, transform: TrainingTransform
) -> list[dict[str, np.ndarray]]:
    """The first `eval_samples` held-out samples, evenly spread, in full batches."""
    count = min(config.eval_samples, len(held_out)) // config.batch_size * config.batch_size
    if not count and len(held_out):
        count = config.batch_size  # a short held-out set is repeated to fill the one batch
    index = np.linspace(0, len(held_out) - 1, count).round().astype(int) if len(held_out) else np.zeros(0, int)
    rows = [transform(held_out[int(i)], np.random.default_rng(0)) for i in index]
    size = config.batch_size
    return [{k: np.stack([r[k] for r in rows[i : i + size]]) for k in rows[0]} for i in range(0, len(rows), size)]


class MetricsLog:
    """`metrics.jsonl`: one object per line. Lines past the step that a run resumes at are dropped, so none is double."""

    def __init__(self, path: Path, *, resume_at: int) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= resume_at]
        path.write_text("".join(line + "\n" for line in kept))

    def write(self, step: int, row: Mapping[str, float]) -> None:
        """Appends one line."""
        if jax.process_index() == 0:
            with self._path.open("a") as file:
                file.write(json.dumps({"step": step, "time": time.time(), **row}) + "\n")

    @staticmethod
    def read(path: Path) -> list[dict[str, float]]:
        """Every line."""
        return [json.loads(line) for line in path.read_text().splitlines()]
