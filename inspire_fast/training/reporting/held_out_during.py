"""Held-out decoding during a run: metrics in native units, and images of a few samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np
from PIL import Image

from inspire_fast.core.files import open_atomic
from inspire_fast.core.types import Sample
from inspire_fast.data.mixture import spread
from inspire_fast.policy.policy import InspirePolicy, ServingOptions
from inspire_fast.training.augment import augment
from inspire_fast.training.datasets.sources import acting_source
from inspire_fast.training.prepare import Run
from inspire_fast.training.reporting.held_out import Example, evaluate_held_out
from inspire_fast.training.reporting.plots import draw_views
from inspire_fast.training.state import TrainState, with_params

SHOWN = 4  # samples per image


class HeldOutDecoding:
    """Decodes `evaluation.decode_samples` held-out samples of the run's own script, evenly spread.

    Only the first process decodes, on its first device, which meanwhile holds the parameters once more in the network's
    dtype. The other processes wait at the next step.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        source = acting_source(run.config, "held_out")
        count = min(run.config.evaluation.decode_samples, len(source))
        self.samples: list[Sample] = [source[i] for i in spread(source, count)] if count else []
        for sample in self.samples:  # refused now rather than at the first decoding
            run.transform.facts_of(sample)

    def __call__(self, state: TrainState) -> tuple[dict[str, float], list[Example]]:
        """Metrics for the log and a few examples; empty without held-out samples, and in the other processes."""
        if not self.samples:
            return {}, []
        params = gathered(state.serving_params, jnp.dtype(self._run.config.model.dtype))
        if jax.process_index() != 0:
            return {}, []
        policy = InspirePolicy(
            with_params(self._run.config.model, params),
            self._run.contract,
            self._run.vocabulary,
            serving=ServingOptions(speculate=False),
            donate=True,
        )
        rows, unlabelled = min(16, len(self.samples)), self._run.config.data.unlabelled
        result, examples = evaluate_held_out(policy, self.samples, unlabelled=unlabelled, rows=rows, keep=SHOWN)
        return result.row(), examples


def gathered(params: dict[str, Any], dtype: jnp.dtype) -> dict[str, Any]:
    """A copy of all parameters on this process's first device, in `dtype`; every process must call it."""
    cast = jax.jit(lambda tree: jax.tree.map(lambda x: jnp.copy(x.astype(dtype)), tree))(params)
    if jax.process_count() > 1:
        cast = multihost_utils.process_allgather(cast, tiled=True)
        if jax.process_index() != 0:
            return {}
    return jax.device_put(cast, jax.local_devices()[0])


def views(
    images: Mapping[str, np.ndarray], recipe: str, key: jax.Array, step: int, placement: np.ndarray | None = None
) -> np.ndarray:
    """An image of the camera views that the network sees, for a few samples of a step.

    Args:
        images: camera -> uint8 `[b, h, w, 3]`, this process's rows.
        recipe: name of the augmentation.
        key: augmentation key of the step.
        step: number for the title.
        placement: see `augment`.
    """
    few = {camera: jnp.asarray(batch[:SHOWN]) for camera, batch in images.items()}
    where = None if placement is None else jnp.asarray(placement[:SHOWN])
    changed = jax.device_get(few if recipe == "none" else augment(few, key, recipe, placement=where))
    return draw_views(changed, f"as the network sees them, step {step}, augmentation {recipe!r}")


def dialogues(examples: list[Example]) -> str:
    """Questions and answers as Markdown."""
    lines = []
    for example in examples:
        lines.append(f"- **{example.instruction}**")
        for question, target, truth, answer, probability in example.dialogue:
            verdict = "right" if answer == truth else f"wrong, it is {truth}"
            lines.append(f"    - {question} of {target}: **{answer}** ({probability:.2f}), {verdict}")
    return "\n".join(lines)


def save_image(folder: Path, step: int, name: str, image: np.ndarray) -> None:
    """Writes `<folder>/<step>_<name>.png` atomically."""
    with open_atomic(folder / f"{step:07d}_{name}.png") as stream:
        Image.fromarray(image).save(stream, format="png")
