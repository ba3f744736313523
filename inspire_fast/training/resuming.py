"""Settings of a run that must stay when it is resumed: its steps continue as if it had never stopped."""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any

from inspire_fast.core.nested import flatten_dict
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.dataset_config import DataConfig
from inspire_fast.training.renamed_fields import with_new_names
from inspire_fast.training.run_contract import jsonable

# Fields that a resumed run may change; every other one is compared. `steps` counts where the schedule depends on it.
FREE = (
    *("name", "exp_name", "resume", "overwrite", "steps", "checkpoint", "logging", "evaluation"),
    *("mesh", "distributed", "memory", "grad_accum_steps", "data/loader_threads"),  # the same numbers, to rounding
    *("data/max_token_len", "data/max_supervised", "data/parts_may_differ", "data/skip_bad_episodes"),
    # The contract compares what these lead to, and the loader and the fingerprints the datasets.
    *("robot", "dialogue", "tokenizers", "model", "asset_id", "data/horizon", "data/normalisation", "data/delta"),
    *("data/parts", "batch_size"),
)


def settings_differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings that decide what a train state holds or what the next steps do, and that differ.

    Args:
        saved: the config in a checkpoint's contract; fields that its version did not have had today's defaults.
        now: of the run that would continue, likewise.
    """
    defaults = flatten_dict(json.loads(json.dumps(_defaults(), default=str)))
    then, current = (_compared(config) for config in (with_new_names(saved), now))
    lines: list[str] = []
    for path in sorted({*then, *current}):
        before, after = (config.get(path, defaults.get(path, "nothing")) for config in (then, current))
        if before != after:
            lines.append(f"{path.replace('/', '.')}: {before!r} and {after!r}")
            if path == _DECAY:
                lines[-1] += f" (`--optimizer.decay-steps {before}` keeps the schedule)"
    return lines + _part_differences(saved, now)


def _part_differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What the samples of a part are rendered with, or weigh; the loader compares the rest."""
    plain = {"script": "", "questions": [], "loss_weight": 1.0}
    then, current = (
        {part["name"]: {name: part.get(name, value) for name, value in plain.items()} for part in parts}
        for parts in (
            json.loads(json.dumps(config.get("data", {}).get("parts", ()), default=str)) for config in (saved, now)
        )
    )
    return [
        f"data.parts, {name}: {field} {then[name][field]!r} and {current[name][field]!r}"
        for name in sorted({*then} & {*current})
        for field in plain
        if then[name][field] != current[name][field]
    ]


_DECAY = "optimizer/decay_steps"


def _compared(config: Mapping[str, Any]) -> dict[str, Any]:
    flat = flatten_dict(json.loads(json.dumps(config, default=str)))
    if flat.get(_DECAY) is None and flat.get("optimizer/schedule", "cosine") in ("cosine", "linear"):
        flat[_DECAY] = flat["steps"]
    return {path: value for path, value in flat.items() if not any(f"{path}/".startswith(f"{free}/") for free in FREE)}


def _defaults() -> dict[str, Any]:
    return jsonable(TrainConfig(name="any", data=DataConfig(root=Path("any"))))
