"""Import of checkpoints without a contract: openpi's, InSpire-FAST's, or a safetensors file.

<source>/params, <source>/assets/<asset_id>/norm_stats.json   what openpi writes (or `<exp>/<step>/...`)
<out>/params      the same files
<out>/assets      contract.json, the tokenizers, <asset_id>/norm_stats.json
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
import json
from pathlib import Path

from inspire_fast.checkpoints.assets import FOLDER, find_norm_stats, robot_stats, write_assets
from inspire_fast.checkpoints.contract import Contract, stored_questions
from inspire_fast.checkpoints.openpi_configs import OPENPI_CONFIGS, OpenpiConfig
from inspire_fast.checkpoints.params.base import require_fit, wanted_by
from inspire_fast.checkpoints.params.orbax import ITEM, write_params
from inspire_fast.checkpoints.params.safetensors import CONTRACT, open_safetensors, read_metadata
from inspire_fast.checkpoints.reading import find_step, open_params
from inspire_fast.core.files import StagedFolder, place
from inspire_fast.data.normalization.stats import NormStats, load_norm_stats
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.config import PRESETS, ModelConfig
from inspire_fast.models.pi0_fast import abstract_model
from inspire_fast.robots import ROBOTS
from inspire_fast.tokenizers.fast.tokenizer import FILE as FAST_FILE
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from inspire_fast.tokenizers.text.paligemma import VOCAB_SIZE as PALIGEMMA_SIZE
from inspire_fast.tokenizers.text.paligemma import load_paligemma
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer

_QUESTION = "direction"
_ACTIONS = "fast"


@dataclass(frozen=True, kw_only=True)
class Tokenizers:
    """Sources of the tokenizers of a checkpoint without a contract.

    Attributes:
        text: PaliGemma's `paligemma_tokenizer.model`, or a folder that holds it; None searches the caches.
        action: the FAST processor that the checkpoint was trained with, where not the config's: a folder, or a
            repository in the Hugging Face cache.
        download: fetch tokenizers that the caches lack; nothing is fetched otherwise.
    """

    text: Path | None = None
    action: str | Path | None = None
    download: bool = False


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Differences of a checkpoint from its config, and how its parameters are stored.

    Attributes:
        asset_id: folder of the statistics, where not the config's.
        model: the architecture, where not the config's preset.
        base: a checkpoint with the parameters that the source lacks; all parameters are then written anew.
        compatibility: names of `COMPATIBILITY` that the contract asks for, in addition to the config's own.
        copy: copy files instead of linking them.
    """

    asset_id: str | None = None
    model: ModelConfig | None = None
    base: Path | None = None
    compatibility: tuple[str, ...] = ()
    copy: bool = False


def import_checkpoint(
    source: Path,
    config: str | OpenpiConfig,
    out: Path,
    *,
    tokenizers: Tokenizers | None = None,
    options: ImportOptions | None = None,
) -> Path:
    """Makes `out` a checkpoint of this package. The source is not changed; its parameters are linked, not copied.

    Args:
        source: a step of openpi's, or a run, whose latest step counts.
        config: the config that the checkpoint was trained with: a name of `OPENPI_CONFIGS`, or its facts.
        out: the new folder.
        tokenizers: where they are; by default the caches are searched.
        options: what differs from the config.

    Returns:
        `out`.

    Raises:
        FileNotFoundError: no checkpoint, no statistics (lists those there are), or a tokenizer's file is missing.
        FileExistsError: `out` exists.
        KeyError: unknown config or option; suggests the closest.
        ValueError: the parameters are not of the architecture, or truncated; the statistics are another robot's; the
            tokenizers do not fit the network's vocabulary.
    """
    tokenizers, options = tokenizers or Tokenizers(), options or ImportOptions()
    name, facts = _named(config, tokenizers, options)
    step, robot = find_step(source), ROBOTS[facts.robot]
    architecture = replace(options.model or PRESETS[facts.preset], cameras=robot.model_cameras)
    params = open_params(step, base=options.base)
    require_fit(params, wanted_by(abstract_model(architecture)))
    stats_file = find_norm_stats(step, facts.asset_id)
    stats = robot_stats(load_norm_stats(stats_file), robot, stats_file)
    vocabulary = _vocabulary(tokenizers, facts, architecture.vocab_size)
    contract = _contract(name, facts, architecture, vocabulary, stats)
    with StagedFolder(out) as folder:
        if options.base is None:
            place(step / ITEM, folder / ITEM, copy=options.copy)
        else:
            write_params(folder, dict(params.stream()))
        write_assets(folder / FOLDER, contract, vocabulary)
    return out


def _named(config: str | OpenpiConfig, tokenizers: Tokenizers, options: ImportOptions) -> tuple[str, OpenpiConfig]:
    """Name and facts of the config, changed as the caller says."""
    name, facts = (config, OPENPI_CONFIGS[config]) if isinstance(config, str) else ("openpi", config)
    compatibility = tuple(dict.fromkeys((*facts.compatibility, *options.compatibility)))
    action = facts.action_tokenizer if tokenizers.action is None else str(tokenizers.action)
    asset_id = facts.asset_id if options.asset_id is None else options.asset_id
    return name, replace(facts, action_tokenizer=action, asset_id=asset_id, compatibility=compatibility)


def _vocabulary(tokenizers: Tokenizers, facts: OpenpiConfig, vocab_size: int) -> Vocabulary:
    return Vocabulary(
        text=load_text(tokenizers.text, vocab_size, download=tokenizers.download),
        action=load_fast(facts.action_tokenizer, download=tokenizers.download),
        size=vocab_size,
        skip=facts.vocab_skip,
    )


def load_text(source: Path | None, vocab_size: int, *, download: bool) -> TextTokenizer:
    """PaliGemma's tokenizer for a network of its vocabulary; another network brings its own.

    Raises:
        FileNotFoundError: there is none.
    """
    if source is None or vocab_size == PALIGEMMA_SIZE:
        return load_paligemma(source, download=download)
    return TextTokenizer.load(source)


def load_fast(source: str, *, download: bool) -> FastTokenizer:
    """A tokenizer of ours from the folder that holds it, else a public processor.

    Raises:
        FileNotFoundError: there is neither.
    """
    if (Path(source) / FAST_FILE).is_file():
        return FastTokenizer.load(Path(source))
    return FastTokenizer.load_processor(source, download=download)


def _contract(
    name: str, facts: OpenpiConfig, model: ModelConfig, vocabulary: Vocabulary, stats: dict[str, NormStats]
) -> Contract:
    robot = ROBOTS[facts.robot]
    vocabulary.action.grammar(facts.horizon, robot.action_dim)  # refuses a tokenizer that can spell no such chunk
    question = QUESTIONS[_QUESTION](axes=robot.axes, **facts.question_parameters)
    return Contract(
        robot=robot.name,
        script=facts.script,
        questions=stored_questions((question,)),
        horizon=facts.horizon,
        max_token_len=facts.max_token_len,
        model=model,
        action_tokenizer=_ACTIONS,
        vocab_size=vocabulary.size,
        vocab_skip=vocabulary.skip,
        text_fingerprint=vocabulary.text.fingerprint,
        action_fingerprint=vocabulary.action.fingerprint,
        stats={key: {k: None if v is None else v.tolist() for k, v in asdict(s).items()} for key, s in stats.items()},
        image_orientation=robot.image_orientation,
        asset_id=facts.asset_id,
        delta=facts.delta,
        config={"imported_from": name, **asdict(facts)},
        compatibility=facts.compatibility,
    )


def read_model(source: str) -> ModelConfig:
    """An architecture: a name of `PRESETS`, or a JSON file with a `ModelConfig`'s fields, as `model` in a contract.

    Raises:
        FileNotFoundError: the file is missing.
        KeyError: unknown preset; suggests the closest.
        ValueError: the file does not hold an architecture.
    """
    path = Path(source)
    if path.suffix != ".json":
        return PRESETS[source]
    optional = {"image_hw": ModelConfig.image_hw, "cameras": ModelConfig.cameras}
    try:
        return ModelConfig.from_dict({**optional, **json.loads(path.read_bytes())})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} is no architecture, a JSON object with ModelConfig's fields: {reason}.") from error


def import_safetensors(file: Path, out: Path, *, assets: Path) -> Path:
    """Makes `out` a checkpoint of this package from an exported file.

    Args:
        file: what `export_safetensors` wrote. Its contract counts, if it carries one.
        out: the new folder.
        assets: the `assets` folder of a checkpoint with the same tokenizers (and, where the file has none, the
            contract).

    Returns:
        `out`.

    Raises:
        FileNotFoundError: the file, a tokenizer or the contract is missing.
        FileExistsError: `out` exists.
        ValueError: tensors are unknown, missing or of another shape; the tokenizers are not the contract's; cut off.
    """
    text = read_metadata(file).get(CONTRACT)
    contract = Contract.read(assets) if text is None else Contract.from_json(text, origin=f"the contract in {file}")
    params = open_safetensors(file, model=contract.model)
    vocabulary = contract.load_vocabulary(assets)
    require_fit(params, wanted_by(abstract_model(contract.model)))
    with StagedFolder(out) as folder:
        write_params(folder, dict(params.stream()))
        write_assets(folder / FOLDER, contract, vocabulary)
    return out
