"""Contract of a training run: the record that every checkpoint of it carries."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
import shutil
import subprocess

import numpy as np

import inspire_fast
from inspire_fast.checkpoints.contract import Contract, stored_questions
from inspire_fast.checkpoints.reading import find_step
from inspire_fast.data.normalization.stats import NormStats
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.dataset_config import stored_parts
from inspire_fast.training.datasets.assets import stats_path


def make_contract(
    config: TrainConfig,
    vocabulary: Vocabulary,
    stats: dict[str, NormStats],
    *,
    control_hz: float = 0.0,
    saw_actions: bool = True,
) -> Contract:
    """The contract of the run's checkpoints.

    Args:
        config: the run.
        vocabulary: its tokenizers.
        stats: its statistics.
        control_hz: the data's rate, 0 if its parts have several.
        saw_actions: see `Contract`.
    """
    return Contract(
        robot=config.robot,
        script=config.dialogue.script,
        questions=stored_questions(config.dialogue.build_questions(config.embodiment)),
        max_targets=config.dialogue.max_targets,
        script_parameters=config.dialogue.script_parameters,
        saw_actions=saw_actions,
        compatibility=config.dialogue.compatibility,
        horizon=config.data.horizon,
        max_token_len=config.data.max_token_len,
        model=config.model,
        action_tokenizer=config.tokenizers.action,
        vocab_size=vocabulary.size,
        vocab_skip=vocabulary.skip,
        text_fingerprint=vocabulary.text.fingerprint,
        action_fingerprint=vocabulary.action.fingerprint,
        stats={
            key: {k: None if v is None else np.asarray(v).tolist() for k, v in asdict(s).items()}
            for key, s in stats.items()
        },
        normalisation=config.data.normalisation,
        delta=config.delta,
        periods=config.embodiment.canonical_periods,
        control_hz=control_hz,
        image_orientation=config.embodiment.image_orientation,
        asset_id=config.asset_id,
        config=jsonable(config),
        revision=git_revision(),
    )


def stored_contract(config: TrainConfig) -> Contract:
    """The contract of the run's latest checkpoint."""
    return Contract.read(find_step(config.checkpoint_dir) / "assets")


def git_revision() -> str:
    """The git revision of the checkout that this package runs from; empty for an installed package, or without git."""
    checkout = Path(inspire_fast.__file__).parents[1]
    git = shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return ""
    command = [git, "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    described = subprocess.run(command, check=False, capture_output=True, encoding="utf-8")
    return described.stdout.strip()


def jsonable(config: TrainConfig) -> dict:
    """The config for the record, without machine paths."""
    stored = asdict(config)
    for group, key in (
        ("", "assets"),
        ("", "init_from"),
        ("checkpoint", "root"),
        ("tokenizers", "text"),
        ("data", "root"),
    ):
        (stored[group] if group else stored).pop(key)
    stored["data"]["parts"] = stored_parts(config.data.parts)
    return stored


def contract_files(config: TrainConfig, contract: Contract) -> dict[str, bytes]:
    """Files that a checkpoint carries besides its arrays: relative path -> content."""
    files = {p.name: p.read_bytes() for p in config.assets_dir.iterdir() if p.is_file()}
    stats = stats_path(config)
    return {
        **files,
        "contract.json": contract.to_json().encode(),
        f"{config.asset_id}/norm_stats.json": stats.read_bytes(),
    }
