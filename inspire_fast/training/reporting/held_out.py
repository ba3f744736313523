"""Held-out evaluation of a policy: answers and actions are decoded, not teacher-forced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import Sample, SceneFacts
from inspire_fast.data.normalization.delta import absolute_actions
from inspire_fast.data.truths import Unlabelled, facts_of, known_answer, known_score
from inspire_fast.policy.batching import Row
from inspire_fast.policy.decoder import Decoded
from inspire_fast.policy.policy import InspirePolicy, Prepared
from inspire_fast.robots import Robot
from inspire_fast.robots.periodic import continued, nearest, shortest


@dataclass(frozen=True, kw_only=True)
class QuestionMetrics:
    """Metrics of one question's answers.

    Attributes:
        asked: number of answers.
        accuracy: share of decoded answers that are true.
        majority_baseline: accuracy of the best constant answer.
        by_word: true answer -> (times it was the truth, times it was decoded then).
    """

    asked: int
    accuracy: float
    majority_baseline: float
    by_word: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One sample and its decoded answers and actions.

    Attributes:
        instruction: as rendered.
        dialogue: (question, target, truth, answer, probability), in order.
        images: camera -> uint8 `[h, w, 3]`, as the network saw it, before augmentation.
        actions: true actions, `[horizon, dim]`, canonical, native units; angles as paths without jumps.
        decoded: the policy's actions, likewise, angles by whole turns nearest the true ones; None if it gave none.
    """

    instruction: str
    dialogue: tuple[tuple[str, str, str, str, float], ...]
    images: Mapping[str, np.ndarray]
    actions: np.ndarray
    decoded: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Metrics over held-out samples.

    Attributes:
        samples: number of samples.
        answer_accuracy: share of decoded answers that are true; NaN without questions.
        answer_majority_baseline: accuracy of the best constant answer on the same questions.
        confusion: (truth, answer) -> count.
        questions: question -> its metrics.
        well_formed: share of samples with a chunk of the right shape; errors are means over these.
        action_error: mean absolute error of decoded chunks, native units, over time and dimensions; NaN without a
            chunk.
        action_error_mean_baseline: the same error of always predicting the training mean.
        action_error_by_dim: the error per action dimension.
        scores: question -> mean score, 0..1, of those that are answered with places; they are not among the answers
            above, since hardly two of them are equal.
    """

    samples: int
    answer_accuracy: float
    answer_majority_baseline: float
    confusion: dict[tuple[str, str], int]
    questions: dict[str, QuestionMetrics]
    well_formed: float
    action_error: float
    action_error_mean_baseline: float
    action_error_by_dim: tuple[float, ...]
    scores: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, float]:
        """The metrics for a line of the log: `decoded_...`, per dimension, question and word."""
        row = {
            "decoded_action_error": self.action_error,
            "decoded_action_error_mean_baseline": self.action_error_mean_baseline,
            "decoded_well_formed": self.well_formed,
        }
        row |= {f"decoded_action_error/{n}": error for n, error in enumerate(self.action_error_by_dim)}
        if self.questions:
            row["decoded_answer_accuracy"] = self.answer_accuracy
            row["decoded_answer_majority_baseline"] = self.answer_majority_baseline
        for name, question in self.questions.items():
            row[f"decoded_answer_accuracy/{name}"] = question.accuracy
            row |= {f"decoded_answer_accuracy/{name}/{w}": right / n for w, (n, right) in question.by_word.items()}
        row |= {f"decoded_score/{name}": score for name, score in self.scores.items()}
        return {name: value for name, value in row.items() if not np.isnan(value)}


@dataclass
class _Tally:
    """Counts and errors so far."""

    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # question, truth, answer
    scores: dict[str, list[float]] = field(default_factory=dict)  # question -> of each answer with places
    errors: list[np.ndarray] = field(default_factory=list)
    baseline: list[np.ndarray] = field(default_factory=list)

    def result(self, samples: int) -> HeldOut:
        confusion: Counter[tuple[str, str]] = Counter()
        for (_, truth, answer), n in self.answers.items():
            confusion[truth, answer] += n
        overall = _question_metrics(confusion)
        names = dict.fromkeys(name for name, _, _ in self.answers)
        questions = {
            name: _question_metrics(Counter({(t, a): n for (q, t, a), n in self.answers.items() if q == name}))
            for name in names
        }
        by_dim = np.mean(self.errors, axis=0) if self.errors else np.full(1, np.nan)
        return HeldOut(
            samples=samples,
            answer_accuracy=overall.accuracy,
            answer_majority_baseline=overall.majority_baseline,
            confusion=dict(confusion),
            questions=questions,
            well_formed=len(self.errors) / samples if samples else float("nan"),
            action_error=float(by_dim.mean()),
            action_error_mean_baseline=float(np.mean(self.baseline)),
            action_error_by_dim=tuple(float(e) for e in by_dim),
            scores={name: float(np.mean(values)) for name, values in self.scores.items()},
        )

    def add_answers(self, decoded: Decoded, row: Row, facts: SceneFacts | None) -> None:
        """Adds one row's answers whose truth is known."""
        for (question, target), answer in zip(row.asked, decoded.answers, strict=True):
            truth, score = known_answer(question, target, facts), known_score(question, target, answer, facts)
            if truth is None or score is None:
                continue
            if question.answers:
                self.answers[question.name, truth, answer] += 1
            else:
                self.scores.setdefault(question.name, []).append(score)


def _question_metrics(confusion: Counter[tuple[str, str]]) -> QuestionMetrics:
    truths: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for (truth, answer), n in confusion.items():
        truths[truth] += n
        found[truth] += n * (truth == answer)
    asked = truths.total()
    return QuestionMetrics(
        asked=asked,
        accuracy=found.total() / asked if asked else float("nan"),
        majority_baseline=max(truths.values()) / asked if asked else float("nan"),
        by_word={word: (n, found[word]) for word, n in sorted(truths.items())},
    )


def evaluate_held_out(
    policy: InspirePolicy,
    samples: Sequence[Sample],
    *,
    unlabelled: Unlabelled,
    rows: int = 16,
    keep: int = 0,
    progress: Callable[[int], object] = lambda _: None,
) -> tuple[HeldOut, list[Example]]:
    """Decodes every sample greedily, questions first, and compares answers and actions with the dataset.

    Also returns the first `keep` samples with their decoded answers and actions.

    Args:
        policy: the policy.
        samples: held-out samples.
        unlabelled: treatment of frames that lack facts, see `TrainingTransform`.
        rows: samples per call of the network.
        keep: number of examples.
        progress: called with the number of samples after each call.

    Raises:
        ValueError: a frame lacks facts, and `unlabelled` is "refuse".
    """
    tally, examples = _Tally(), []
    for start in range(0, len(samples), rows):
        batch = [samples[i] for i in range(start, min(start + rows, len(samples)))]
        seen = [replace(one, facts=policy.inputs.facts(one)) for one in batch]
        known = [facts_of(policy.script, one, unlabelled) for one in seen]
        prepared = [
            policy.prepare_canonical(one.observation, _options(facts)) for one, facts in zip(batch, known, strict=True)
        ]
        for sample, facts, row, decoded in zip(batch, known, prepared, policy.decode(prepared), strict=True):
            example = _compare(policy, replace(sample, facts=facts), row, decoded)
            tally.add_answers(decoded, row.row, facts)
            tally.baseline.append(chunk_error(policy.robot, _mean_actions(policy, sample), example.actions))
            if example.decoded is not None:
                tally.errors.append(chunk_error(policy.robot, example.decoded, example.actions))
            if len(examples) < keep:
                examples.append(example)
        progress(len(batch))
    return tally.result(len(samples)), examples


def _options(facts: SceneFacts | None) -> RequestOptions:
    """Asks what training asks."""
    return RequestOptions(targets=[target.phrase for target in facts.targets] if facts else ())


def _compare(policy: InspirePolicy, sample: Sample, prepared: Prepared, decoded: Decoded) -> Example:
    answers = policy.answers_of(decoded, prepared)
    truths = [known_answer(question, target, sample.facts) for question, target in prepared.row.asked]
    actions, periods = np.asarray(sample.actions), policy.robot.canonical_periods.get("actions", ())
    actions = continued(actions, actions[:1], periods)
    try:
        chunk = nearest(policy.canonical_actions(decoded, prepared.state), actions, periods)
    except ValueError:
        chunk = None
    return Example(
        instruction=prepared.fields.instruction,
        dialogue=tuple(
            (one.question, one.target, truth, one.answer, one.probability)
            for one, truth in zip(answers, truths, strict=True)
            if truth is not None
        ),
        images=prepared.images,
        actions=actions,
        decoded=chunk,
    )


def chunk_error(robot: Robot, decoded: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Mean absolute error of chunks `[t, a]` per dimension `[a]`, of angles the short way round."""
    return np.abs(shortest(decoded - actions, robot.canonical_periods.get("actions", ()))).mean(axis=0)


def _mean_actions(policy: InspirePolicy, sample: Sample) -> np.ndarray:
    normalizer = policy.inputs.normalizer
    mean = np.broadcast_to(normalizer.stats["actions"].mean, np.asarray(sample.actions).shape)
    return absolute_actions(mean, sample.observation.state, normalizer.delta)
