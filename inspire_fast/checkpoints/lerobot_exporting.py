"""Export to LeRobot: a checkpoint as the folder of a `pi0_fast` policy. `lerobot_importing.py` reads it.

config.json                       sizes, features, normalisation, names of the tokenizers
model.safetensors                 the parameters (`checkpoints.params.lerobot`); ours carry the contract as metadata
policy_{pre,post}processor.json   LeRobot's pipelines, each with the statistics in a file of its own
"""

from __future__ import annotations

from collections.abc import Mapping
import logging
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from inspire_fast.checkpoints.assets import FOLDER, write_assets
from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.exporting import Lora, exported
from inspire_fast.checkpoints.params.lerobot import to_lerobot
from inspire_fast.checkpoints.params.safetensors import CONTRACT, write_safetensors
from inspire_fast.checkpoints.reading import find_step
from inspire_fast.core.files import StagedFolder, write_json
from inspire_fast.data.normalization.normalizer import Normalisation
from inspire_fast.models.config import GEMMA_2B, DType
from inspire_fast.robots import ROBOTS, Robot
from inspire_fast.tokenizers.fast.processor import REPO_ID
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from inspire_fast.tokenizers.text.paligemma import REPOSITORIES

logger = logging.getLogger(__name__)

TYPE, SCRIPT = "pi0_fast", "lerobot_pi0_fast"
CONFIG, WEIGHTS, PROCESSOR = "config.json", "model.safetensors", "policy_{}processor.json"
IMAGES, STATE, ACTION = "observation.images.", "observation.state", "action"
ARCHITECTURE = GEMMA_2B
"""The one architecture that LeRobot's class builds."""
KEYS = {"state": STATE, "actions": ACTION}
MODES: Mapping[Normalisation, str] = {"quantile": "QUANTILES", "zscore": "MEAN_STD"}
STATE_DIM, PROMPT_IDS, ACTION_IDS = 32, 200, 256  # LeRobot's own defaults


def export_lerobot(
    checkpoint: Path, out: Path, *, dtype: DType | None = None, lora: Lora = "keep", base: Path | None = None
) -> Path:
    """Writes the folder of a LeRobot policy; arguments as of `export_checkpoint`.

    The parameters compute what they compute here. LeRobot's pipelines write another prompt than openpi's (script
    `lerobot_pi0_fast`): a checkpoint of another script has to be trained there before it acts.

    Returns:
        `out`.

    Raises:
        FileNotFoundError: no checkpoint, or one without a contract.
        FileExistsError: `out` exists.
        ValueError: another architecture than PaliGemma's, low-rank updates that are not merged, or actions relative to
            the state, which LeRobot would take as absolute ones.
    """
    params, contract = exported(find_step(checkpoint), lora, base)
    _require_lerobots(contract)
    theirs = to_lerobot(params)
    if contract.script != SCRIPT or contract.script_parameters.get("state_dim"):
        logger.warning(
            "The checkpoint was trained with script %r %s. LeRobot writes %r: train it there before it acts.",
            *(contract.script, dict(contract.script_parameters) or "", SCRIPT),
        )
    vocabulary = contract.load_vocabulary(find_step(checkpoint) / FOLDER)
    narrow = {leaf.dtype.name for leaf in params.leaves.values()} == {"bfloat16"}
    config = _config(contract, dtype or ("bfloat16" if narrow else "float32"), action=_action_name(contract, out))
    with StagedFolder(out) as folder:
        write_safetensors(
            folder / WEIGHTS,
            theirs,
            dtype=None if dtype is None else jnp.dtype(dtype),
            metadata={"format": "pt", CONTRACT: contract.to_json()},
        )
        write_json(folder / CONFIG, config)
        _write_pipelines(folder, contract, config)
        if config["action_tokenizer_name"] != REPO_ID and isinstance(vocabulary.action, FastTokenizer):
            vocabulary.action.save_processor(folder / "action_tokenizer")
        write_assets(folder / FOLDER, contract, vocabulary)
    return out


def _require_lerobots(contract: Contract) -> None:
    """Refuses what LeRobot's policy cannot be.

    Raises:
        ValueError: says what.
    """
    model, wanted = contract.model, ARCHITECTURE
    for part in ("vision", "language", "vocab_size", "image_hw"):
        have, need = getattr(model, part), getattr(wanted, part)
        if part == "language":
            have = have.without_lora()
        if have != need:
            raise ValueError(
                f"LeRobot's pi0_fast has one architecture, PaliGemma's: its {part} is {need}, the checkpoint's {have}. "
                "Export it to openpi's layout or to a .safetensors file instead."
            )
    if any(contract.delta):
        raise ValueError(
            f"The checkpoint's actions are relative to the state (delta {contract.delta}), and LeRobot would take them "
            "as absolute ones. Train without `delta`, or export it to openpi's layout, which has them."
        )
    if contract.action_tokenizer != "fast" or not contract.build_script().acts:
        raise ValueError(
            f"LeRobot's pi0_fast writes FAST actions; the checkpoint has script {contract.script!r} and action "
            f"tokenizer {contract.action_tokenizer!r}."
        )


def _action_name(contract: Contract, out: Path) -> str:
    """The FAST processor: the public one where the record says so, else the folder that is written along."""
    recorded = contract.config.get("tokenizers", {})
    named = recorded.get("action") if isinstance(recorded, Mapping) else None
    public = REPO_ID in (named, contract.config.get("action_tokenizer"))
    return REPO_ID if public else str(out / "action_tokenizer")


def _config(contract: Contract, dtype: str, *, action: str) -> dict[str, Any]:
    """`config.json`, with the fields that every version since 0.4 knows."""
    robot, mode = ROBOTS[contract.robot], MODES[contract.normalisation]
    images = {IMAGES + camera: _feature("VISUAL", 3, *contract.model.image_hw) for camera in cameras_of(robot)}
    return {
        "type": TYPE,
        "n_obs_steps": 1,
        "input_features": {**images, STATE: _feature("STATE", robot.state_dim)},
        "output_features": {ACTION: _feature("ACTION", robot.action_dim)},
        "dtype": dtype,
        "paligemma_variant": "gemma_2b",
        "chunk_size": contract.horizon,
        "n_action_steps": contract.horizon,
        "max_state_dim": contract.script_parameters.get("state_dim") or STATE_DIM,
        "max_action_dim": STATE_DIM,
        "max_action_tokens": ACTION_IDS,
        "image_resolution": list(contract.model.image_hw),
        "tokenizer_max_length": PROMPT_IDS,
        "text_tokenizer_name": REPOSITORIES[0],
        "action_tokenizer_name": action,
        "fast_skip_tokens": contract.vocab_skip,
        "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": mode, "ACTION": mode},
    }


def cameras_of(robot: Robot) -> list[str]:
    """A robot's cameras, by the network's names and in its order."""
    return sorted(robot.cameras.values())


def _feature(kind: str, *shape: int) -> dict[str, Any]:
    return {"type": kind, "shape": list(shape)}


def _write_pipelines(folder: Path, contract: Contract, config: Mapping[str, Any]) -> None:
    """Both pipelines as LeRobot's own `make_pi0_fast_pre_post_processors` saves them."""
    stats = contract.normalizer().stats
    arrays = {
        f"{key}.{name}": np.asarray(value, np.float32)
        for ours, key in KEYS.items()
        for name in ("mean", "std", "q01", "q99")
        if (value := getattr(stats[ours], name)) is not None
    }
    inputs, outputs, modes = (config[k] for k in ("input_features", "output_features", "normalization_mapping"))
    action, text = config["action_tokenizer_name"], config["text_tokenizer_name"]
    words = {"task_key": "task", "padding_side": "right", "padding": "max_length", "truncation": True}
    before = [
        ("rename_observations_processor", {"rename_map": {}}),
        ("to_batch_processor", {}),
        ("normalizer_processor", {"eps": 1e-8, "features": {**inputs, **outputs}, "norm_map": modes}),
        ("pi0_fast_prepare_state_tokenizer_processor_step", {"max_state_dim": config["max_state_dim"]}),
        ("tokenizer_processor", {**words, "max_length": config["tokenizer_max_length"], "tokenizer_name": text}),
        (
            "action_tokenizer_processor",
            {
                "trust_remote_code": True,
                "max_action_tokens": config["max_action_tokens"],
                "fast_skip_tokens": config["fast_skip_tokens"],
                "action_tokenizer_name": action,
                "paligemma_tokenizer_name": text,
            },
        ),
        ("device_processor", {"device": "cpu", "float_dtype": None}),
    ]
    after = [
        ("unnormalizer_processor", {"eps": 1e-8, "features": outputs, "norm_map": modes}),
        ("device_processor", {"device": "cpu", "float_dtype": None}),
    ]
    for when, steps in (("pre", before), ("post", after)):
        name, entries = f"policy_{when}processor", []
        for number, (step, settings) in enumerate(steps):
            entry: dict[str, Any] = {"registry_name": step, "config": settings}
            if "norm_map" in settings:
                entry["state_file"] = f"{name}_step_{number}_{step}.safetensors"
                save_file(arrays, folder / entry["state_file"])
            entries.append(entry)
        write_json(folder / PROCESSOR.format(when), {"name": name, "steps": entries})
