"""Metrics of a demo run in one dictionary, from the files of its stages; the source of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.accuracy import accuracy, judged, majority


def summarise(
    *,
    run: Path,
    checkpoint_dir: Path,
    episodes_dir: Path,
    demonstrations: Mapping[str, Any],
    parameters: int,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The figures; paths are relative to `run`.

    Args:
        run: where the report will lie.
        checkpoint_dir: holds `metrics.jsonl` and `held_out.json`.
        episodes_dir: holds `episodes.jsonl` and the videos.
        demonstrations: what the recording stage reported.
        parameters: of the network.
        seconds: per stage.
    """
    metrics = [json.loads(line) for line in (checkpoint_dir / "metrics.jsonl").read_text().splitlines()]
    held_out = json.loads((checkpoint_dir / "held_out.json").read_text())
    episodes = records.read(episodes_dir)
    given = judged(episodes)
    calls = [call for record in episodes for call in record.calls]
    return {
        "parameters": parameters,
        "steps": int(metrics[-1]["step"]),
        "demonstrations": int(demonstrations["episodes"]),
        "demonstration_attempts_failed": int(demonstrations["failures"]),
        "episodes": len(episodes),
        "successes": sum(r.success for r in episodes),
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
        "videos": [str((episodes_dir / r.video).relative_to(run)) for r in episodes if r.video],
        "episode_table": [_row(r) for r in episodes],
        "seconds": {name: float(value) for name, value in seconds.items()},
        "seconds_total": float(sum(seconds.values())),
    }


def _row(record: EpisodeRecord) -> dict[str, Any]:
    given = judged([record])
    return {
        "task": f"{record.suite}:{record.task}",
        "prompt": record.prompt,
        "episode": record.episode,
        "success": record.success,
        "stopped": record.stopped,
        "steps": record.steps,
        "calls": len(record.calls),
        "holds": record.holds,
        "answers_right": sum(bool(a.right) for _, a in given),
        "answers": len(given),
        "seconds": record.seconds,
        "video": record.video,
    }


def _median(values: Sequence[float]) -> float | None:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None
