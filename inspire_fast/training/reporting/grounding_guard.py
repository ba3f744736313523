"""Decay guard: what is left of grounding while a network learns to act.

Held-out frames of the parts that answer and do not act (`ground`) are decoded and scored before the first step and at
every evaluation. Where a run starts from trained weights, the first score is that of the stage before, and the guard
warns when less than 70 % of it is kept (what ST4VLA keeps). The score of a question is its own: intersection over union
of boxes, closeness of points and paths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
import logging
from pathlib import Path

import numpy as np

from inspire_fast.core.files import write_json
from inspire_fast.core.types import Sample
from inspire_fast.data.mixture import spread
from inspire_fast.data.training_transform import ModelInput
from inspire_fast.data.truths import known_score
from inspire_fast.models.inference.build import build
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.policy.asking import ask
from inspire_fast.policy.decoder import Decoder
from inspire_fast.training.datasets.assets import with_transforms
from inspire_fast.training.datasets.sources import open_parts
from inspire_fast.training.prepare import Run

logger = logging.getLogger(__name__)

KEPT_AT_LEAST = 0.7
FILE = "grounding.json"


@dataclass(frozen=True, kw_only=True)
class GroundingScore:
    """Scores of decoded answers, 0..1: the mean over the questions' means, and each question's."""

    mean: float
    questions: Mapping[str, float]

    def row(self) -> dict[str, float]:
        """The scores for a line of the log."""
        return {"decoded_grounding": self.mean} | {f"decoded_grounding/{n}": v for n, v in self.questions.items()}


def score_answers(decoder: Decoder, inputs: ModelInput, samples: Sequence[Sample]) -> GroundingScore:
    """Decodes every question whose truth is known and scores the answers; NaN where none is.

    Args:
        decoder: of a script that asks.
        inputs: from observations to the network's input.
        samples: held-out samples with facts.
    """
    scores = defaultdict[str, list[float]](list)
    for asked in filter(None, ask(decoder, inputs, samples)):
        for question, target, answer in asked.answers:
            if (score := known_score(question, target, answer, asked.facts)) is not None:
                scores[question.name].append(score)
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    return GroundingScore(mean=float(np.mean([*means.values()])) if means else float("nan"), questions=means)


def share_kept(path: Path, step: int, found: GroundingScore) -> float | None:
    """Share of the first score that is kept, warned of below 70 %; None where the first score was 0 or is not known.

    Args:
        path: file of the first score; written at step 0, and where there is none yet.
        step: of the run.
        found: the score now.
    """
    if step == 0 or not path.is_file():
        write_json(path, {"step": step, **found.row()})
    before = float(json.loads(path.read_text(encoding="utf-8"))["decoded_grounding"])
    if not before > 0 or np.isnan(found.mean):
        return None
    kept = found.mean / before
    if kept < KEPT_AT_LEAST:
        logger.warning(
            "Step %d: grounding decays. Held-out answers about places score %.3f, %.0f%% of the %.3f that this run "
            "began with; ST4VLA keeps %.0f%%. Raise the weight of the part that answers (its `weight` or "
            "`loss_weight`), or lower the learning rate.",
            *(step, found.mean, 100 * kept, before, 100 * KEPT_AT_LEAST),
        )
    return kept


class GroundingGuard:
    """Scores the grounding of a run in progress; see the module.

    Args:
        run: result of `prepare`.
        folder: of the run; the first score is kept there, so that a resumed run compares with it.
    """

    def __init__(self, run: Run, folder: Path) -> None:
        self._run, self._path = run, folder / FILE
        config = run.config
        parts = with_transforms(config, open_parts(config, "held_out"), run.transform)
        answering = [
            (part, script)
            for part, wanted in zip(parts, config.data.datasets, strict=True)
            if not (script := config.script_of(wanted)).acts and len(part.source)
        ]
        most = config.evaluation.decode_samples
        self._samples = [
            (script, [part.source[i] for i in spread(part.source, min(most, len(part.source)))])
            for part, script in answering
        ]

    def __bool__(self) -> bool:
        """Whether any part answers and has held-out samples."""
        return bool(self._samples)

    def __call__(self, step: int, model: Pi0Fast) -> dict[str, float]:
        """Metrics of the network at a step: the scores, and `grounding_kept` of the first one."""
        found = self._score(model)
        row = {name: value for name, value in found.row().items() if not np.isnan(value)}
        if self._run.config.init_from is None:
            return row  # a fresh network has nothing to lose
        kept = share_kept(self._path, step, found)
        return row if kept is None else {**row, "grounding_kept": kept}

    def _score(self, model: Pi0Fast) -> GroundingScore:
        run, served = self._run, build(model)
        horizon, action_dim = run.config.data.horizon, run.config.embodiment.action_dim
        scores: dict[str, list[float]] = defaultdict(list)
        for script, samples in self._samples:
            decoder = Decoder(served, script, run.vocabulary, horizon=horizon, action_dim=action_dim)
            for name, value in score_answers(decoder, run.transform.inputs, samples).questions.items():
                scores[name].append(value)
        means = {name: float(np.mean(values)) for name, values in scores.items()}
        return GroundingScore(mean=float(np.mean([*means.values()])) if means else float("nan"), questions=means)
