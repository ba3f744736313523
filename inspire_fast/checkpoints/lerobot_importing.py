"""Import from LeRobot: the folder of a `pi0_fast` policy as a checkpoint of this package.

LeRobot's files do not say whose arm it is, nor which camera is which: `LerobotOptions` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from inspire_fast.checkpoints import lerobot_exporting as layout
from inspire_fast.checkpoints.assets import FOLDER, robot_stats, write_assets
from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.importing import Tokenizers, load_fast, load_text
from inspire_fast.checkpoints.lerobot_exporting import (
    ACTION,
    ACTION_IDS,
    CONFIG,
    IMAGES,
    KEYS,
    MODES,
    PROCESSOR,
    PROMPT_IDS,
    SCRIPT,
    STATE,
    STATE_DIM,
    TYPE,
    WEIGHTS,
    cameras_of,
)
from inspire_fast.checkpoints.params.base import require_fit, wanted_by
from inspire_fast.checkpoints.params.orbax import write_params
from inspire_fast.checkpoints.params.safetensors import read_metadata
from inspire_fast.checkpoints.reading import open_params
from inspire_fast.core.files import StagedFolder
from inspire_fast.core.ranges import Natural, require_ranges
from inspire_fast.data.normalization.normalizer import Normalisation
from inspire_fast.data.normalization.stats import NormStats
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.config import ModelConfig
from inspire_fast.models.pi0_fast import abstract_model
from inspire_fast.robots import ROBOTS, Robot
from inspire_fast.tokenizers.text.paligemma import REPOSITORIES

_SINCE_0_5_1 = "use_relative_actions"
_DEFAULTS: Mapping[str, Any] = {
    "input_features": {},
    "output_features": {},
    "paligemma_variant": "gemma_2b",
    "chunk_size": 50,
    "max_state_dim": STATE_DIM,
    "max_action_tokens": ACTION_IDS,
    "image_resolution": (224, 224),
    "tokenizer_max_length": PROMPT_IDS,
    "text_tokenizer_name": REPOSITORIES[0],
    "action_tokenizer_name": "lerobot/fast-action-tokenizer",
    "fast_skip_tokens": 128,
    "normalization_mapping": {},
}


@dataclass(frozen=True, kw_only=True)
class LerobotOptions:
    """What a LeRobot policy's files do not say.

    Attributes:
        robot: our name of the embodiment: units, image orientation, axes.
        cameras: the network's camera (`base_0_rgb`, ...) of each of LeRobot's image keys. Keys that end in such a name
            need not be given.
        state_dim: numbers to which the prompt's state is filled up: 32 where LeRobot 0.4 trained the policy, 0 (as many
            as there are) where a later version did. None takes 0 where `config.json` tells a later version.
        model: the architecture, where it is not LeRobot's own.
        asset_id: folder of the statistics.
    """

    robot: str
    cameras: Mapping[str, str] = field(default_factory=dict[str, str])
    state_dim: Natural | None = None
    model: ModelConfig | None = None
    asset_id: str = "lerobot"

    def __post_init__(self) -> None:
        require_ranges(self)


def import_lerobot(source: Path, out: Path, options: LerobotOptions, *, tokenizers: Tokenizers | None = None) -> Path:
    """Makes `out` a checkpoint of this package from a LeRobot `pi0_fast` policy's folder (LeRobot 0.4 and later).

    Text and actions are as LeRobot trains them (script `lerobot_pi0_fast`). What it does otherwise when it acts is not
    taken over: there the prompt sees the BOS behind it.

    Args:
        source: the folder with `config.json`, `model.safetensors` and the preprocessor's files.
        out: the new folder.
        options: see there.
        tokenizers: where they are; by default the caches are searched for those that `config.json` names.

    Returns:
        `out`.

    Raises:
        FileNotFoundError: a file or a tokenizer is missing.
        FileExistsError: `out` exists.
        KeyError: unknown robot; suggests the closest.
        ValueError: something that this package's policies do not have; says what came, and what was expected.
    """
    robot, tokenizers = ROBOTS[options.robot], tokenizers or Tokenizers()
    config = read_config(source)
    _require_ours(config, robot, source / CONFIG, tokenizers)
    _require_state_dim(config, options, source / CONFIG)
    cameras = _cameras(config, options, robot, source / CONFIG)
    model = replace(options.model or layout.ARCHITECTURE, cameras=cameras, image_hw=tuple(config["image_resolution"]))
    params = open_params(source, model=model)
    require_fit(params, wanted_by(abstract_model(model)))
    stats = _stats(source, robot)
    vocabulary = Vocabulary(
        text=load_text(tokenizers.text, model.vocab_size, download=tokenizers.download),
        action=load_fast(str(tokenizers.action or config["action_tokenizer_name"]), download=tokenizers.download),
        size=model.vocab_size,
        skip=config["fast_skip_tokens"],
    )
    contract = _contract(config, options, model, vocabulary, stats)
    with StagedFolder(out) as folder:
        write_params(folder, dict(params.stream()))
        write_assets(folder / FOLDER, contract, vocabulary)
    return out


def is_policy(path: Path) -> bool:
    """Whether a folder holds a LeRobot policy, of whichever type; transformers' have a `model_type` instead.

    A configuration that is cut off counts, if it names a type: `read_config` tells what is wrong with it.
    """
    if not (path / CONFIG).is_file() or not any(path.glob("model*.safetensors")):
        return False
    text = (path / CONFIG).read_text(encoding="utf-8", errors="replace")
    try:
        config = json.loads(text)
    except ValueError:
        return '"type"' in text
    return isinstance(config, dict) and "type" in config


def skip_of(folder: Path) -> int:
    """Ids that a policy leaves unused at the end of the vocabulary; see `Vocabulary.skip`.

    Raises:
        ValueError: `config.json` cannot be read, or holds no number.
    """
    path = folder / CONFIG
    try:
        return int(json.loads(path.read_bytes()).get("fast_skip_tokens", _DEFAULTS["fast_skip_tokens"]))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no policy's configuration, or cut off: {error}. Copy it again.") from error


def metadata_of(folder: Path) -> Mapping[str, str]:
    """Text that came with a policy's parameters: a contract, where this package exported it."""
    return read_metadata(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else {}


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a LeRobot `pi0_fast` policy, with LeRobot's defaults where fields are absent.

    Raises:
        FileNotFoundError: there is none.
        ValueError: no JSON object, another policy's, fields of other types, or the `pi0fast` of before 0.4, whose
            actions are normalised by each chunk's own range.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"No {CONFIG} in {folder}: a LeRobot policy's folder holds one beside {WEIGHTS}.")
    try:
        stored = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON, or cut off: {error}. Copy it again.") from error
    found = stored.get("type") if isinstance(stored, dict) else None
    if found != TYPE:
        hint = (
            " That is the policy of before LeRobot 0.4, whose actions are normalised by each chunk's own range; its "
            "parameters can still be a start of training (--init-from)."
            if found == "pi0fast"
            else ""
        )
        raise ValueError(f"{path} is of a policy of type {found!r}; expected {TYPE!r}.{hint}")
    config = {**_DEFAULTS, **stored}
    if wrong := {name: config[name] for name, default in _DEFAULTS.items() if not _alike(config[name], default)}:
        raise ValueError(
            f"{path} has fields that LeRobot does not write so: {wrong!r:.300}. Expected values like "
            f"{ {name: _DEFAULTS[name] for name in wrong} }."
        )
    return config


def _alike(value: Any, default: Any) -> bool:
    """Whether a field has the type of its default; features are objects in an object."""
    if isinstance(default, tuple):
        return isinstance(value, Sequence) and [type(v) for v in value] == [type(v) for v in default]
    if default == {}:
        inner = list(value.values()) if isinstance(value, dict) else [None]
        return all(isinstance(v, dict) for v in inner) or all(isinstance(v, str) for v in inner)
    return type(value) is type(default)


def _require_ours(config: Mapping[str, Any], robot: Robot, path: Path, tokenizers: Tokenizers) -> None:
    """Refuses a policy that needs what ours do not have; lists all of it.

    Raises:
        ValueError: see above.
    """
    modes = config["normalization_mapping"]
    shapes = {"state": config["input_features"].get(STATE, {}), "actions": config["output_features"].get(ACTION, {})}
    dims = {key: feature.get("shape") for key, feature in shapes.items()}
    wanted = {"state": [robot.state_dim], "actions": [robot.action_dim]}
    text, names = config["text_tokenizer_name"], [*REPOSITORIES]
    problems = {
        f"state and actions have shapes {dims}; robot {robot.name!r} has {wanted}": dims != wanted,
        f"paligemma_variant is {config['paligemma_variant']!r}; expected 'gemma_2b'": (
            config["paligemma_variant"] != "gemma_2b"
        ),
        f"images are normalised by {modes.get('VISUAL')!r}; expected 'IDENTITY'": modes.get("VISUAL") != "IDENTITY",
        f"state and actions are normalised by {modes.get('STATE')!r} and {modes.get('ACTION')!r}; expected one of "
        f"{sorted(MODES.values())} for both": (
            modes.get("STATE") != modes.get("ACTION") or modes.get("STATE") not in MODES.values()
        ),
        "use_relative_actions is set; actions relative to named joints are not read": config.get(_SINCE_0_5_1, False),
        f"the text tokenizer is {text!r}, none of {names}; name its file with --text-tokenizer": (
            text not in names and tokenizers.text is None
        ),
    }
    if found := [problem for problem, there in problems.items() if there]:
        raise ValueError(f"{path} describes a policy that cannot be imported:\n  " + "\n  ".join(found))


def _require_state_dim(config: Mapping[str, Any], options: LerobotOptions, path: Path) -> None:
    """Refuses to guess how long the prompt's state is.

    Raises:
        ValueError: `config.json` has only fields that LeRobot 0.4 has as well.
    """
    if options.state_dim is None and _SINCE_0_5_1 not in config:
        raise ValueError(
            f"{path} has no {_SINCE_0_5_1!r}: LeRobot 0.4 or 0.5.0 wrote it. 0.4 fills the prompt's state up to "
            f"{config['max_state_dim']} numbers, later versions do not. Say which: --state-dim "
            f"{config['max_state_dim']} for 0.4, --state-dim 0 for 0.5.0."
        )


def _cameras(config: Mapping[str, Any], options: LerobotOptions, robot: Robot, path: Path) -> tuple[str, ...]:
    """The network's cameras, which LeRobot has in the order of its features and this package in that of their names.

    Raises:
        ValueError: a key without a camera, cameras that are not the robot's, or another order.
    """
    keys = [
        key
        for key, feature in config["input_features"].items()
        if feature.get("type") == "VISUAL" and not key.startswith(f"{IMAGES}empty_camera_")
    ]
    mapping = {key: options.cameras.get(key, key.removeprefix(IMAGES)) for key in keys}
    cameras, shown = tuple(mapping.values()), cameras_of(robot)
    unknown = sorted(set(options.cameras) - set(keys))
    if unknown or list(cameras) != shown:
        raise ValueError(
            f"{path} has the images {keys}, in this order, which became the cameras {list(cameras)}"
            f"{f'; it has no {unknown}' if unknown else ''}. Robot {robot.name!r} shows {shown}: expected the same, in "
            f"the same order. Say which is which: --cameras {' '.join(f'{k} CAMERA' for k in keys)}."
        )
    return cameras


def _stats(source: Path, robot: Robot) -> dict[str, NormStats]:
    """Statistics of the preprocessor's normaliser.

    Raises:
        FileNotFoundError: the pipeline's file, or the one with its statistics, is missing.
        ValueError: there is no normaliser, a file is damaged, or the statistics are another robot's.
    """
    pipeline = source / PROCESSOR.format("pre")
    if not pipeline.is_file():
        raise FileNotFoundError(f"No {pipeline.name} in {source}, which names the file of the statistics.")
    try:
        steps = json.loads(pipeline.read_bytes())["steps"]
        names = [step.get("state_file") for step in steps if step.get("registry_name") == "normalizer_processor"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{pipeline} is no pipeline of LeRobot's, or cut off ({error!r}). Copy it again.") from error
    if len(names) != 1 or names[0] is None:
        raise ValueError(f"{pipeline} has {len(names)} normalisers with statistics in a file; expected one.")
    file = source / Path(names[0]).name
    if not file.is_file():
        raise FileNotFoundError(f"No {file.name} in {source}, which {pipeline.name} names.")
    try:
        arrays = load_file(file)
        found = {ours: _stats_of(arrays, key) for ours, key in KEYS.items() if f"{key}.mean" in arrays}
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{file} holds no whole statistics, or is cut off ({error!r}). Copy it again.") from error
    return robot_stats(found, robot, file)


def _stats_of(arrays: Mapping[str, np.ndarray], key: str) -> NormStats:
    """One quantity's; quantiles are there where LeRobot's dataset had them."""
    quantiles = [name for name in ("q01", "q99") if f"{key}.{name}" in arrays]
    return NormStats(
        **{name: arrays[f"{key}.{name}"].astype(np.float64).reshape(-1) for name in ("mean", "std", *quantiles)}
    )


def _contract(
    config: Mapping[str, Any],
    options: LerobotOptions,
    model: ModelConfig,
    vocabulary: Vocabulary,
    stats: Mapping[str, NormStats],
) -> Contract:
    robot = ROBOTS[options.robot]
    vocabulary.action.grammar(config["chunk_size"], robot.action_dim)  # refuses one that can spell no such chunk
    kinds: dict[str, Normalisation] = {mode: kind for kind, mode in MODES.items()}
    return Contract(
        robot=robot.name,
        script=SCRIPT,
        script_parameters={"state_dim": options.state_dim or 0},
        questions=(),
        horizon=config["chunk_size"],
        max_token_len=config["tokenizer_max_length"] + config["max_action_tokens"],
        model=model,
        action_tokenizer="fast",
        vocab_size=vocabulary.size,
        vocab_skip=vocabulary.skip,
        text_fingerprint=vocabulary.text.fingerprint,
        action_fingerprint=vocabulary.action.fingerprint,
        stats={key: {k: None if v is None else v.tolist() for k, v in asdict(s).items()} for key, s in stats.items()},
        normalisation=kinds[config["normalization_mapping"]["STATE"]],
        image_orientation=robot.image_orientation,
        asset_id=options.asset_id,
        config={"imported_from": "lerobot", **config},
    )
