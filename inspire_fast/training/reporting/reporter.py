"""Reporter of a run in progress: metrics, held-out losses, decoded samples, images, a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from inspire_fast.core.batch import Batch
from inspire_fast.models.loss import loss
from inspire_fast.models.placement import on_mesh
from inspire_fast.training.prepare import Run
from inspire_fast.training.reporting.gradient_parts import make_gradient_parts
from inspire_fast.training.reporting.grounding_guard import GroundingGuard
from inspire_fast.training.reporting.held_out_during import HeldOutDecoding, dialogues, gathered, save_image, views
from inspire_fast.training.reporting.metrics_log import MetricsLog, mean_metrics
from inspire_fast.training.reporting.plots import draw_examples
from inspire_fast.training.reporting.throughput import Throughput
from inspire_fast.training.state import TrainState, augmentation_key, with_params
from inspire_fast.training.trackers.open import open_trackers


def due(number: int, every: int) -> bool:
    """Whether something that happens every `every` steps (0: never) happens at this step."""
    return every > 0 and number % every == 0


class Reporter:
    """Reports on the steps of one run; a context manager.

    Args:
        run: result of `prepare`.
        folder: folder of the run, for `metrics.jsonl`, `images/`, and the files of the trackers.
        done: steps taken so far; log lines of later steps, written by a killed process, are dropped.
    """

    def __init__(self, run: Run, folder: Path, *, done: int) -> None:
        config = run.config
        self._run, self._folder = run, folder
        self._evaluate = jax.jit(self._held_out_metrics)
        acts = run.transform.script.acts
        self._decode = HeldOutDecoding(run) if config.evaluation.decode_every and acts else None
        self._guard = GroundingGuard(run, folder) if config.evaluation.every else None
        measured = config.evaluation.gradient_parts and run.held_out
        self._gradients = jax.jit(make_gradient_parts(config, run.mesh)) if measured else None
        self._log = MetricsLog(folder / "metrics.jsonl", resume_at=done)
        self._tracker = open_trackers(
            config.logging.trackers,
            folder,
            resume_at=done,
            config=asdict(config),
            run_name=f"{config.name}/{config.exp_name}",
        )
        self.throughput = Throughput(config.model, config.freeze, batch_size=config.batch_size)
        self._bar = tqdm(
            total=config.steps, initial=done, desc=f"train {config.name}", unit="step", mininterval=1.0, disable=None
        )

    def _held_out_metrics(self, params: dict[str, Any], batch: Batch) -> dict[str, jax.Array]:
        with on_mesh(self._run.mesh):
            return loss(with_params(self._run.config.model, params), batch)[1]

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._bar.close()
        self._tracker.close(failed=error is not None)

    def start(self, state: TrainState) -> None:
        """Notes what the network knows before the first step, where the guard watches it."""
        if row := self._grounding(0, state):
            self._log.write(0, row)
            self._tracker.scalars(0, row)
            self._show(0, row)

    def _grounding(self, number: int, state: TrainState) -> dict[str, float]:
        if not self._guard:
            return {}
        config = self._run.config.model
        params = gathered(state.serving_params, jnp.dtype(config.dtype))
        return self._guard(number, with_params(config, params)) if jax.process_index() == 0 else {}

    def step(
        self,
        number: int,
        rows: Sequence[Mapping[str, Any]],
        state: TrainState,
        arrays: Mapping[str, np.ndarray],
    ) -> bool:
        """Notes a step, and reports if it is due.

        Args:
            number: number of the step, from 1.
            rows: metrics of the steps since the last report.
            state: state after the step.
            arrays: the step's batch, this process's rows.

        Returns:
            Whether it reported.

        Raises:
            FloatingPointError: a loss or a gradient is not finite.
        """
        config = self._run.config
        self._bar.update()
        edge = number in (1, config.steps)
        intervals = (config.logging.every, config.evaluation.every, config.evaluation.decode_every)
        if not edge and not any(due(number, every) for every in intervals):
            return False
        row = mean_metrics(rows)  # waits for the steps
        row |= self.throughput.metrics()
        if edge or due(number, config.evaluation.every):
            row |= held_out_losses(self._evaluate, state, self._run.held_out)
            row |= self._grounding(number, state)
            if self._gradients:
                found = jax.device_get(self._gradients(state.params, self._run.held_out[0]))
                row |= {name: float(value) for name, value in found.items() if not np.isnan(value)}
        if self._decode and (number == config.steps or due(number, config.evaluation.decode_every)):
            row |= self._decoded(self._decode, number, state, arrays)
        self._log.write(number, row)
        self._tracker.scalars(number, row)
        self._show(number, row)
        self.throughput.begin()
        return True

    def _decoded(
        self, decode: HeldOutDecoding, number: int, state: TrainState, arrays: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        metrics, examples = decode(state)
        if jax.process_index() == 0:
            config = self._run.config
            cameras = {k.removeprefix("image:"): v for k, v in arrays.items() if k.startswith("image:")}
            key = augmentation_key(config.seed, number - 1)
            seen = views(cameras, config.data.augmentation, key, number, arrays.get("placement"))
            self._image(number, "views", seen)
        if examples:
            self._image(number, "held_out", draw_examples(examples, f"held out, step {number}"))
            self._tracker.text(number, "dialogues", dialogues(examples))
        return metrics

    def _image(self, number: int, name: str, image: np.ndarray) -> None:
        save_image(self._folder / "images", number, name, image)
        self._tracker.image(number, name, image)

    def _show(self, number: int, row: Mapping[str, float]) -> None:
        """On a terminal, losses after the progress bar; elsewhere a line."""
        short = {k: f"{row[k]:.3f}" for k in ("answer_loss", "action_loss") if k in row}
        self._bar.set_postfix(short | {k: f"{row[k]:.1%}" for k in ("mfu", "data_wait_fraction") if k in row})
        if self._bar.disable:
            shown = (f"{k}={v:.4g}" for k, v in row.items() if k.count("/") == 0)
            print(f"step {number}/{self._bar.total}", *shown, flush=True)  # noqa: T201


def held_out_losses(
    evaluate: Callable[[dict[str, Any], Batch], dict[str, jax.Array]], state: TrainState, batches: Sequence[Batch]
) -> dict[str, float]:
    """Teacher-forced losses of answers and actions on the held-out batches; empty without batches."""
    rows = [jax.device_get(evaluate(state.serving_params, batch)) for batch in batches]
    means = {k: [r[k] for r in rows if not np.isnan(r[k])] for k in ("answer_loss", "action_loss")}
    return {f"held_out_{k}": float(np.mean(v)) for k, v in means.items() if v}
