"""What the statistics of a run are of: compared with the run that would use them."""

from __future__ import annotations

from collections.abc import Mapping
import json
import logging
from pathlib import Path
from typing import Any

from inspire_fast.data.facts import DatasetIdentity
from inspire_fast.data.lerobot.meta import load_meta
from inspire_fast.data.normalization.stats import load_made_from
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.dataset_config import part_names
from inspire_fast.training.datasets.sources import training_columns

logger = logging.getLogger(__name__)


def made_from(config: TrainConfig) -> dict[str, Any]:
    """The quantities and samples that a run's statistics describe, as JSON values."""
    return {**_quantities(config), **_samples(config)}


# Statistics of other quantities would be applied to the wrong numbers; those of other samples may be meant.
def _quantities(config: TrainConfig) -> dict[str, Any]:
    robot, delta = config.embodiment, list(config.delta)
    found = {
        "robot": config.robot,
        "state": robot.state_names,
        "actions": robot.action_names,
        "delta": delta + [False] * (robot.action_dim - len(delta)),
    }
    return json.loads(json.dumps(found))


def _samples(config: TrainConfig) -> dict[str, Any]:
    """Reads the metadata of all datasets."""
    datasets = {
        name: {
            "dataset": DatasetIdentity.of(load_meta(part.root)).sha256[:16],
            "columns": training_columns(config.data, config.embodiment, part),
            "exclude_episodes": part.exclude_episodes,
            "weight": part.weight,
        }
        for name, part in zip(part_names(config.data.datasets), config.data.datasets, strict=True)
    }
    found = {"datasets": datasets, "horizon": config.data.horizon, "held_out_every": config.data.held_out_every}
    return json.loads(json.dumps(found))


def require_same_quantities(config: TrainConfig, path: Path, remedy: str) -> None:
    """Refuses statistics of another robot, of other dimensions, or of another `delta`.

    Args:
        config: the run.
        path: of its statistics. A file that does not say what it is of, such as openpi's, is believed.
        remedy: what to do, the end of the message.

    Raises:
        ValueError: names what differs.
    """
    if differing := _differing(path, _quantities(config)):
        raise ValueError(f"{path} holds statistics of other quantities (there, now):\n  {differing}\n{remedy}")


def warn_of_other_samples(config: TrainConfig, path: Path) -> None:
    """Says that statistics were computed on other samples than the run's, or that the file does not say on which."""
    if load_made_from(path) is None:
        logger.info("%s does not say what its statistics are of (another program wrote it).", path)
    elif differing := _differing(path, _samples(config)):
        logger.warning(
            "%s was computed on other samples (there, now). Keep it if the policy continues weights that were trained "
            "with it; else compute it again.\n  %s",
            path,
            differing,
        )


def _differing(path: Path, now: Mapping[str, Any]) -> str:
    """The fields of `now` that differ, one per line; empty if none does or the file says nothing."""
    then = load_made_from(path)
    changed = [] if then is None else [name for name in now if then.get(name) != now[name]]
    return "\n  ".join(f"{name}: {then.get(name)!r:.300} and {now[name]!r:.300}" for name in changed if then)
