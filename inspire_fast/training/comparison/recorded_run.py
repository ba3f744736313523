"""Recorded run: the curves, decoded held-out metrics and config in a run's folder, finished or not.

Files are read as plain JSON, without JAX and the classes that wrote them: a comparison starts at once and includes old
runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import read_json_lines
from inspire_fast.core.nested import flatten_dict
from inspire_fast.training.renamed_fields import with_new_names

METRICS, HELD_OUT, CONTRACT = "metrics.jsonl", "held_out.json", "assets/contract.json"
_NO_METRICS = {"step", "time"}
_NO_DIFFERENCE = {"exp_name", "resume", "overwrite"}
# Losses are nats per token, and tokens differ between runs that differ in one of these fields.
TOKENS = ("script", "questions", "action_tokenizer", "text_fingerprint", "action_fingerprint", "horizon")


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """Content of one run's folder.

    Attributes:
        label: the shortest name that no other run has.
        folder: folder of the run.
        curves: metric -> rows of (step, value), float64 `[n, 2]`, in the order of steps.
        step: step of the last line.
        step_s: median duration of a step in seconds, from times of lines; None with fewer than two lines.
        held_out: metric -> value, of `held_out.json`; empty without that file.
        config: path -> value of the last checkpoint's config; empty before the first checkpoint.
        tokens: fields of the last checkpoint's contract that define its tokens; likewise.
    """

    label: str
    folder: Path
    curves: Mapping[str, np.ndarray]
    step: int
    step_s: float | None
    held_out: Mapping[str, float]
    config: Mapping[str, Any]
    tokens: Mapping[str, Any]


def read_runs(folders: Sequence[Path]) -> list[RecordedRun]:
    """Reads every folder; a run may still be writing.

    Raises:
        FileNotFoundError: a folder is no run; names what is missing and what is there.
        ValueError: a folder is named twice, or a file is damaged.
    """
    resolved = [folder.resolve() for folder in folders]
    if twice := [str(f) for f, r in zip(folders, resolved, strict=True) if resolved.count(r) > 1]:
        raise ValueError(f"The same run is named more than once: {', '.join(twice)}.")
    return [read_run(f, label) for f, label in zip(folders, labels(resolved), strict=True)]


def labels(folders: Sequence[Path]) -> list[str]:
    """The shortest endings that distinguish the paths.

    checkpoints/demo/first, checkpoints/demo/second  -> first, second
    checkpoints/demo/first, checkpoints/debug/first  -> demo/first, debug/first
    """
    longest = max((len(folder.parts) for folder in folders), default=1)
    for parts in range(1, longest):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len({*names}) == len(names):
            return names
    return [str(folder) for folder in folders]


def read_run(folder: Path, label: str) -> RecordedRun:
    """Reads one folder; raises what `read_runs` does."""
    file = folder / METRICS
    if not file.is_file():
        raise FileNotFoundError(_no_run(folder))
    rows = read_json_lines(file)
    if not rows:
        raise ValueError(f"{file} holds no line yet; the run logs its first after step 1.")
    steps, times = (np.array([row[key] for row in rows], np.float64) for key in ("step", "time"))
    gaps = np.diff(times) / np.maximum(np.diff(steps), 1)
    contract = _read_contract(folder)
    return RecordedRun(
        label=label,
        folder=folder,
        curves=_curves(rows),
        step=int(steps[-1]),
        step_s=float(np.median(gaps)) if len(gaps) else None,
        held_out=_numbers(_read_json(folder / HELD_OUT)),
        config={
            k: v for k, v in flatten_dict(with_new_names(contract.get("config", {}))).items() if k not in _NO_DIFFERENCE
        },
        tokens={key: contract[key] for key in TOKENS if key in contract},
    )


def _no_run(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is no folder. Name runs by their folders, <checkpoint.root>/<config>/<exp_name>."
    below = sorted(str(path.parent) for pattern in ("*", "*/*") for path in folder.glob(f"{pattern}/{METRICS}"))
    if (folder.parent / METRICS).is_file():
        return f"{folder} holds no {METRICS}: it is one step of a run. Name the run: {folder.parent}."
    there = f"There are runs below it: {', '.join(below)}." if below else f"It holds {_names(folder)}."
    return f"{folder} is no run's folder: it holds no {METRICS}, which training writes from the first step on. {there}"


def _names(folder: Path, most: int = 8) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"


def _curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in _NO_METRICS and isinstance(value, int | float) and np.isfinite(value):
                points.setdefault(name, []).append((row["step"], value))
    return {name: np.array(values, np.float64) for name, values in points.items()}


def _numbers(held_out: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of `held_out.json`; numbers of a list are named `<name>[<index>]`."""
    found: dict[str, float] = {}
    for name, value in flatten_dict(held_out).items():
        cells = {f"{name}[{i}]": v for i, v in enumerate(value)} if isinstance(value, list) else {name: value}
        found |= {key: float(v) for key, v in cells.items() if isinstance(v, int | float)}
    return found


def _read_contract(folder: Path) -> Mapping[str, Any]:
    """The last checkpoint's contract as stored, because one of an older version can still be compared."""
    found = [path for path in folder.glob(f"*/{CONTRACT}") if path.relative_to(folder).parts[0].isdigit()]
    return _read_json(max(found, key=lambda path: int(path.relative_to(folder).parts[0]))) if found else {}


def _read_json(file: Path) -> Mapping[str, Any]:
    """The content of a JSON file; empty without one."""
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file} is damaged or still being written: {error}") from error
