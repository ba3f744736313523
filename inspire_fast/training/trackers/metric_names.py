"""Table of the training metrics: the group each is drawn in, the direction that is better, and its unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Group = Literal["losses", "held_out", "decoded", "accuracy", "speed", "optimiser", "other"]
Better = Literal["lower", "higher"]

TITLES: Mapping[Group, str] = {
    "losses": "Losses on training batches",
    "held_out": "Held-out samples, teacher-forced",
    "decoded": "Held-out samples, decoded",
    "accuracy": "Accuracy on training batches",
    "speed": "Throughput and waiting for data",
    "optimiser": "Optimiser",
    "other": "Other metrics",
}


@dataclass(frozen=True)
class Metric:
    """Properties of one metric.

    Attributes:
        group: key of `TITLES`.
        better: direction that is better; None where neither is.
        unit: label of its axis; empty where the name says it all.
        noisy: measured on single training batches, so that curves are smoothed.
    """

    group: Group
    better: Better | None = None
    unit: str = ""
    noisy: bool = False


# Pattern of the name (as in `fnmatch`) -> properties; the first match counts.
METRICS: Mapping[str, Metric] = {
    # Lines of `metrics.jsonl`.
    "loss": Metric("losses", "lower", "nats per token", noisy=True),
    "answer_loss": Metric("losses", "lower", "nats per token", noisy=True),
    "action_loss": Metric("losses", "lower", "nats per token", noisy=True),
    "answer_token_accuracy": Metric("accuracy", "higher", "share", noisy=True),
    "action_token_accuracy": Metric("accuracy", "higher", "share", noisy=True),
    "grad_norm": Metric("optimiser", noisy=True),
    "grad_norm_vision": Metric("optimiser", noisy=True),
    "grad_norm_language": Metric("optimiser", noisy=True),
    "grad_norm_answers": Metric("optimiser", unit="held out, answers alone"),
    "grad_norm_actions": Metric("optimiser", unit="held out, actions alone"),
    "grad_cosine": Metric("optimiser", unit="between the gradients of answers and of actions"),
    "weight_*": Metric("losses", unit="of a nat in the loss"),
    "decoded_score/*": Metric("decoded", "higher", "score"),
    "decoded_grounding*": Metric("decoded", "higher", "score"),
    "grounding_kept": Metric("decoded", "higher", "share of the first score"),
    "learning_rate": Metric("optimiser"),
    "samples_per_s": Metric("speed", "higher", "1/s", noisy=True),
    "tokens_per_s": Metric("speed", "higher", "1/s", noisy=True),
    "tflops_per_device": Metric("speed", "higher", "TFLOP/s", noisy=True),
    "mfu": Metric("speed", "higher", "share", noisy=True),
    "data_wait_fraction": Metric("speed", "lower", "share", noisy=True),
    "held_out_answer_loss": Metric("held_out", "lower", "nats per token"),
    "held_out_action_loss": Metric("held_out", "lower", "nats per token"),
    "decoded_action_error": Metric("decoded", "lower", "native units"),
    "decoded_action_error/*": Metric("decoded", "lower", "native units"),
    "decoded_action_error_mean_baseline": Metric("decoded", unit="native units"),
    "decoded_answer_accuracy": Metric("decoded", "higher", "share"),
    "decoded_answer_accuracy/*": Metric("decoded", "higher", "share"),
    "decoded_answer_majority_baseline": Metric("decoded", unit="share"),
    "decoded_well_formed": Metric("decoded", "higher", "share"),
    # Numbers of `held_out.json`.
    "action_error": Metric("decoded", "lower", "native units"),
    "action_error_by_dim*": Metric("decoded", "lower", "native units"),
    "action_error_mean_baseline": Metric("decoded", unit="native units"),
    "answer_accuracy": Metric("decoded", "higher", "share"),
    "questions/*/accuracy": Metric("decoded", "higher", "share"),
    "answer_majority_baseline": Metric("decoded", unit="share"),
    "questions/*/majority_baseline": Metric("decoded", unit="share"),
    "well_formed": Metric("decoded", "higher", "share"),
}


def metric(name: str) -> Metric:
    """The properties of a metric; a name that is not in the table is of the group `other`."""
    return next((found for pattern, found in METRICS.items() if fnmatchcase(name, pattern)), Metric("other"))


def tag(name: str) -> str:
    """The name in a tracker, `<group>/<name>`; a name with a folder of its own stays as it is."""
    return name if "/" in name else f"{metric(name).group}/{name}"
