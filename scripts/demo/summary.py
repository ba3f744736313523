"""Metrics of a demo run in one dictionary, from the files of its stages; the source of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from statistics import median_high
from typing import Any

from inspire_fast.core.files import read_json_lines
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.accuracy import accuracy, judged, majority


def summarise(
    records: Sequence[EpisodeRecord],
    shipped: Sequence[EpisodeRecord],
    *,
    checkpoint_dir: Path,
    demonstrations: Mapping[str, Any],
    parameters: int,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Collects the metrics.

    Args:
        records: of the trained policy's episodes.
        shipped: of the shipped policy's episodes.
        checkpoint_dir: holds `metrics.jsonl` and `held_out.json`.
        demonstrations: result of the recording stage.
        parameters: of the network.
        seconds: per stage.
    """
    metrics = read_json_lines(checkpoint_dir / "metrics.jsonl")
    given_by_shipped = judged(shipped)
    return {
        "shipped_episodes": len(shipped),
        "shipped_successes": sum(r.success for r in shipped),
        "shipped_answer_accuracy": accuracy(given_by_shipped),
        "shipped_answer_majority_baseline": majority(given_by_shipped),
        "parameters": parameters,
        "steps": int(metrics[-1]["step"]),
        "demonstrations": int(demonstrations["episodes"]),
        "demonstration_attempts_failed": int(demonstrations["failures"]),
        **_held_out(checkpoint_dir / "held_out.json"),
        **_rollouts(records),
        "losses": {
            key: [[row["step"], row[key]] for row in metrics if key in row]
            for key in ("answer_loss", "action_loss", "held_out_answer_loss", "held_out_action_loss")
        },
        "seconds": {name: float(value) for name, value in seconds.items()},
        "seconds_total": float(sum(seconds.values())),
    }


def _held_out(file: Path) -> dict[str, Any]:
    stored = json.loads(file.read_text(encoding="utf-8"))
    names = ("answer_accuracy", "answer_majority_baseline", "confusion", "action_error", "action_error_by_dim")
    return {name: stored[name] for name in (*names, "action_error_mean_baseline")} | {
        "held_out_samples": stored["samples"]
    }


def _rollouts(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    given, calls = judged(records), [call for record in records for call in record.calls]
    ms = [c.timing_ms["round_trip_ms"] for c in calls if "round_trip_ms" in c.timing_ms]
    return {
        "episodes": len(records),
        "successes": sum(r.success for r in records),
        "rollout_answers": len(given),
        "rollout_answer_accuracy": accuracy(given),
        "rollout_answer_majority_baseline": majority(given),
        "calls": len(calls),
        "held_chunks": sum(call.status != "ok" for call in calls),
        "inference_ms_median": median_high(ms) if ms else None,
    }
