"""Assets of a checkpoint: statistics in openpi's layout, the contract and the tokenizers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from inspire_fast.checkpoints.contract import FILE, Contract, require_asset_id
from inspire_fast.core.files import write_text
from inspire_fast.data.normalization.stats import FILE_NAME, NormStats, save_norm_stats
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.robots import Robot

FOLDER = "assets"


def find_norm_stats(step: Path, asset_id: str) -> Path:
    """`<step>/assets/<asset_id>/norm_stats.json`.

    Raises:
        FileNotFoundError: there is none; lists the asset ids that there are.
        ValueError: the asset id leads out of the checkpoint.
    """
    require_asset_id(asset_id)
    assets = step / FOLDER
    file = assets / asset_id / FILE_NAME
    if file.is_file():
        return file
    there = sorted(str(p.parent.relative_to(assets)) for p in assets.rglob(FILE_NAME)) if assets.is_dir() else []
    known = (
        f"There are statistics of {', '.join(there)}; name one as the asset id." if there else "There are none at all."
    )
    raise FileNotFoundError(f"No normalisation statistics of {asset_id!r} in the checkpoint: {file}. {known}")


def robot_stats(stats: Mapping[str, NormStats], robot: Robot, origin: Path) -> dict[str, NormStats]:
    """The statistics that a robot's policy needs, of its dimensions.

    Older checkpoints of openpi padded state and actions before the statistics were taken: dimensions past the robot's
    that are zero throughout are that padding, and are cut.

    Args:
        stats: as stored.
        robot: whose they should be.
        origin: the file, for the message.

    Raises:
        ValueError: a quantity is missing, or has another number of dimensions than the robot.
    """
    if missing := {"state", "actions"} - set(stats):
        raise ValueError(f"{origin} has no statistics of {sorted(missing)}; it has {sorted(stats)}.")
    dims = {"state": robot.state_dim, "actions": robot.action_dim}
    cut = {key: _without_padding(stats[key], dim) for key, dim in dims.items()}
    if wrong := {key: len(s) for key, s in cut.items() if len(s) != dims[key]}:
        raise ValueError(
            f"{origin} holds statistics of another robot: dimensions {wrong}, but robot {robot.name!r} has {dims} "
            f"(state {', '.join(robot.state_names)}). Choose the config, or the asset id, that belongs to the "
            "checkpoint."
        )
    return cut


def write_assets(folder: Path, contract: Contract, vocabulary: Vocabulary) -> None:
    """Writes contract, tokenizers and `<asset_id>/norm_stats.json` of a checkpoint."""
    vocabulary.text.save(folder)
    vocabulary.action.save(folder)
    save_norm_stats(folder / contract.asset_id, contract.normalizer().stats)
    write_text(folder / FILE, contract.to_json())


def _without_padding(stats: NormStats, dim: int) -> NormStats:
    columns = {name: value for name in ("mean", "std", "q01", "q99") if (value := getattr(stats, name)) is not None}
    if len(stats) <= dim or any(np.any(value[dim:]) for value in columns.values()):
        return stats
    return NormStats(**{name: value[:dim] for name, value in columns.items()})
