"""Metrics of a demo run in one dictionary, from the files of its stages; the source of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

from inspire_fast.core.files import read_json_lines
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.accuracy import accuracy, judged, majority


def summarise(
    records: Sequence[EpisodeRecord],
    *,
    checkpoint_dir: Path,
    demonstrations: Mapping[str, Any],
    parameters: int,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Collects the metrics.

    Args:
        records: of the evaluation's episodes.
        checkpoint_dir: holds `metrics.jsonl` and `held_out.json`.
        demonstrations: result of the recording stage.
        parameters: of the network.
        seconds: per stage.
    """
    metrics = read_json_lines(checkpoint_dir / "metrics.jsonl")
    held_out = json.loads((checkpoint_dir / "held_out.json").read_text(encoding="utf-8"))
    given = judged(records)
    calls = [call for record in records for call in record.calls]
    return {
        "parameters": parameters,
        "steps": int(metrics[-1]["step"]),
        "demonstrations": int(demonstrations["episodes"]),
        "demonstration_attempts_failed": int(demonstrations["failures"]),
        "episodes": len(records),
        "successes": sum(r.success for r in records),
        "answer_accuracy": held_out["answer_accuracy"],
        "answer_majority_baseline": held_out["answer_majority_baseline"],
        "action_error": held_out["action_error"],
        "action_error_mean_baseline": held_out["action_error_mean_baseline"],
        "action_error_by_dim": held_out["action_error_by_dim"],
        "held_out_samples": held_out["samples"],
        "confusion": held_out["confusion"],
        "rollout_answers": len(given),
        "rollout_answer_accuracy": accuracy(given),
        "rollout_answer_majority_baseline": majority(given),
        "calls": len(calls),
        "held_chunks": sum(call.status != "ok" for call in calls),
        "inference_ms_median": _median([c.timing_ms["round_trip_ms"] for c in calls if "round_trip_ms" in c.timing_ms]),
        "losses": {
            key: [[row["step"], row[key]] for row in metrics if key in row]
            for key in ("answer_loss", "action_loss", "held_out_answer_loss", "held_out_action_loss")
        },
        "seconds": {name: float(value) for name, value in seconds.items()},
        "seconds_total": float(sum(seconds.values())),
    }


def _median(values: Sequence[float]) -> float | None:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None
