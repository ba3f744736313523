"""What the trained policy really says and does on held-out samples: the dialogue is decoded, not teacher-forced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from inspire_fast.core.types import Sample
from inspire_fast.data.actions import absolute_actions
from inspire_fast.data.render import true_answers
from inspire_fast.policy.policy import InspirePolicy


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Figures over held-out samples.

    Attributes:
        samples: how many.
        answer_accuracy: share of decoded answers that are the true ones; NaN without questions.
        answer_majority_baseline: accuracy of the best constant answer on the same questions.
        confusion: (truth, answer) -> count.
        action_error: mean absolute error of decoded chunks, native units, over time and dimensions.
        action_error_mean_baseline: the same of always predicting the training mean.
        action_error_by_dim: per action dimension.
    """

    samples: int
    answer_accuracy: float
    answer_majority_baseline: float
    confusion: dict[tuple[str, str], int]
    action_error: float
    action_error_mean_baseline: float
    action_error_by_dim: tuple[float, ...]


def evaluate_held_out(
    policy: InspirePolicy,
    samples: Sequence[Sample],
    *,
    rows: int = 16,
    progress: Callable[[int], object] = lambda _: None,
) -> HeldOut:
    """Decodes every sample greedily, questions first, and compares with the record."""
    confusion: Counter[tuple[str, str]] = Counter()
    errors, baseline = [], []
    normalizer = policy.inputs.normalizer
    for start in range(0, len(samples), rows):
        batch = [samples[i] for i in range(start, min(start + rows, len(samples)))]
        asks = bool(policy.script.questions)
        turns = [
            policy.inputs.turn(s.observation, [t.phrase for t in s.facts.targets] if asks and s.facts else ())
            for s in batch
        ]
        images = [policy.inputs.images(s.observation) for s in batch]
        decoded = policy.decoder.decode(
            {c: np.stack([row[c] for row in images]) for c in policy.decoder.cameras},
            {c: np.ones(len(batch), bool) for c in policy.inputs.cameras},
            turns,
        )
        for sample, turn, row in zip(batch, turns, decoded, strict=True):
            confusion.update(zip(true_answers(policy.script, turn, sample.facts), row.answers, strict=True))
            chunk = policy.vocabulary.action.decode(
                list(row.action_ids), policy.contract.horizon, policy.robot.action_dim
            )
            truth = np.asarray(sample.actions)
            state = sample.observation.state
            errors.append(np.abs(normalizer.canonical_actions(chunk, state) - truth).mean(axis=0))
            mean = absolute_actions(
                np.broadcast_to(normalizer.stats["actions"].mean, truth.shape), state, normalizer.delta
            )
            baseline.append(np.abs(mean - truth).mean(axis=0))
        progress(len(batch))
    truths = Counter(truth for (truth, _), n in confusion.items() for _ in range(n))
    asked = sum(truths.values())
    return HeldOut(
        samples=len(samples),
        answer_accuracy=sum(n for (t, a), n in confusion.items() if t == a) / asked if asked else float("nan"),
        answer_majority_baseline=max(truths.values()) / asked if asked else float("nan"),
        confusion=dict(confusion),
        action_error=float(np.mean(errors)),
        action_error_mean_baseline=float(np.mean(baseline)),
        action_error_by_dim=tuple(float(e) for e in np.mean(errors, axis=0)),
    )
