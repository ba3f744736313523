"""Metrics log `metrics.jsonl`: means over steps, checked and written line by line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import time
from typing import Any

import jax
import numpy as np

from inspire_fast.core.files import append_json_line, read_json_lines, write_text


class MetricsLog:
    """`metrics.jsonl`, one JSON object per line. Lines after the step at which a run resumes are dropped."""

    def __init__(self, path: Path, *, resume_at: int) -> None:
        self._path = path
        if path.exists() and jax.process_index() == 0:
            kept = [json.dumps(row) + "\n" for row in read_json_lines(path) if row["step"] <= resume_at]
            write_text(path, "".join(kept))

    def write(self, step: int, row: Mapping[str, float]) -> None:
        """Appends one line."""
        if jax.process_index() == 0:
            append_json_line(self._path, {"step": step, "time": time.time(), **row})


def mean_metrics(metrics: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over steps. A NaN means that a step lacks the metric; a metric that every step lacks is left out.

    Raises:
        FloatingPointError: a loss or a gradient is not finite.
    """
    rows = jax.device_get(list(metrics))
    require_finite(rows)
    columns = {k: np.array([r[k] for r in rows], np.float64) for k in rows[0]}
    return {k: float(np.nanmean(v)) for k, v in columns.items() if not np.isnan(v).all()}


def require_finite(rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuses metrics of a broken state; called before every checkpoint and log line, so that none is ever saved.

    Raises:
        FloatingPointError: a loss or a gradient is not finite.
    """
    for row in rows:
        if not (np.isfinite(row["loss"]) and np.isfinite(row["grad_norm"])):
            raise FloatingPointError(
                f"The loss became {float(row['loss'])} with gradient norm {float(row['grad_norm'])}. Lower the "
                "learning rate or inspect the data; the last checkpoint was written before this."
            )
