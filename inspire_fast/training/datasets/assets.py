"""What a run needs beside a dataset: normalisation statistics and tokenizers. Made once, by a command; never on the fly."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
import shlex
import shutil
import subprocess

import numpy as np

import inspire_fast
from inspire_fast.checkpoints.contract import Contract, stored_questions
from inspire_fast.data.chunks import ChunkSource, Split
from inspire_fast.data.normalization.compute import source_stats
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.normalization.stats import (
    NormStats,
    load_norm_stats,
    save_norm_stats,
)
from inspire_fast.data.training_transform import ModelInput, TrainingTransform
from inspire_fast.dialogue.render import STATE_BINS, PromptFields, unroll
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.tokenizers.action import ActionTokenizer
from inspire_fast.tokenizers.registry import fit_action_tokenizer, load_action_tokenizer
from inspire_fast.tokenizers.text.paligemma import load_paligemma
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer
from inspire_fast.training.config import TrainConfig, config_names, load_config
from inspire_fast.training.dataset_config import stored_parts
from inspire_fast.training.datasets.sources import open_parts, open_source


def stats_path(config: TrainConfig) -> Path:
    """`norm_stats.json` of the run."""
    return config.assets_dir / config.asset_id / "norm_stats.json"


def compute_stats(config: TrainConfig) -> dict[str, NormStats]:
    """Statistics of the training samples' numeric columns as they are drawn (actions by chunk, as openpi), written for the run."""
    stats = source_stats(open_source(config, "train"), delta=config.delta)
    save_norm_stats(stats_path(config), stats)
    return stats


def load_stats(config: TrainConfig) -> dict[str, NormStats]:
    """The run's statistics.

    Raises:
        FileNotFoundError: names the command that makes them.
    """
    return load_norm_stats(stats_path(config), config_name=_as_called(config))


def _as_called(config: TrainConfig) -> str:
    """The config as a command line names it, with the folders that differ from the named config's."""
    named = load_config(config.name) if config.name in config_names() else config
    words = [config.name]
    if config.data.parts != named.data.parts:
        words += ["--data.parts", *map(str, config.data.parts)]
    elif not config.data.parts and config.data.root != named.data.root:
        words += ["--data.root", str(config.data.root)]
    if config.assets != named.assets:
        words += ["--assets", str(config.assets)]
    return shlex.join(words)


def make_normalizer(config: TrainConfig, stats: dict[str, NormStats]) -> Normalizer:
    """The run's map between the robot's units and the network's."""
    return Normalizer(stats=stats, kind=config.data.normalisation, delta=config.delta)


def fit_tokenizers(config: TrainConfig, *, progress: bool = False) -> Vocabulary:
    """Trains the text tokenizer on the run's own dialogues and the action tokenizer on its chunks; written beside the statistics.

    The action tokenizer learns from training chunks only, from each once whatever its part's weight; its range covers the
    held-out ones too, so that they can be scored.
    """
    stats = load_stats(config)
    train, every = normalised_chunks(config, stats, "train"), normalised_chunks(config, stats, "all")
    vocabulary = _vocabulary(
        config,
        text=_text_tokenizer(config, stats),
        action=fit_action_tokenizer(
            config.action_tokenizer,
            train,
            vocab_size=config.action_vocab_size,
            cover=every,
            progress=progress,
            parameters=config.action_tokenizer_parameters,
        ),
    )
    vocabulary.text.save(config.assets_dir)
    vocabulary.action.save(config.assets_dir)
    return vocabulary


def normalised_chunks(config: TrainConfig, stats: dict[str, NormStats], split: Split) -> np.ndarray:
    """Action chunks of a split as the network sees them, `[n, t, a]`; those of several datasets one after the other."""
    sources, normalizer = [part.source for part in open_parts(config, split)], make_normalizer(config, stats)
    return np.concatenate([normalizer.actions(source.chunks(), source.states()) for source in sources])


def _text_tokenizer(config: TrainConfig, stats: dict[str, NormStats]) -> TextTokenizer:
    if config.text_tokenizer is None:
        return _fit_text(config, stats)
    return load_paligemma() if config.text_tokenizer == "paligemma" else TextTokenizer.load(Path(config.text_tokenizer))


def _vocabulary(config: TrainConfig, text: TextTokenizer, action: ActionTokenizer) -> Vocabulary:
    return Vocabulary(text=text, action=action, size=config.model.vocab_size, skip=config.skip)


def _fit_text(config: TrainConfig, stats: dict[str, NormStats]) -> TextTokenizer:
    """Numbers of the state and answer words become one id each, which keeps the sequence short."""
    script = config.build_script()
    phrases: dict[str, tuple[str, ...]] = {}
    for part in open_parts(config, "train"):
        for task, targets in _phrases(part.source).items():
            phrases[task] = phrases.get(task) or targets
    texts = []
    for task, targets in phrases.items():
        fields = PromptFields(instruction=task, state=np.zeros(len(stats["state"])), targets=targets)
        texts.append("".join(piece.text for piece in unroll(script, fields)))
    words = [f" {w}" for question in script.questions for answer in question.answers for w in answer.split()]
    numbers = [f" {n}" for n in range(-1, STATE_BINS)]
    symbols = list(dict.fromkeys([*words, *numbers]))
    try:
        return TextTokenizer.fit(texts * 8, vocab_size=config.text_vocab_size, symbols=symbols)
    except RuntimeError as error:  # SentencePiece's
        raise ValueError(
            f"text_vocab_size={config.text_vocab_size} is too small: bytes are 256 ids, and the words of answers and of the "
            f"state {len(symbols)}, beside letters and special ids. Raise it. SentencePiece says: {' '.join(str(error).split())}"
        ) from error


def _phrases(source: ChunkSource) -> dict[str, tuple[str, ...]]:
    """The targets of each task as its labels word them; none without labels."""
    phrases: dict[str, tuple[str, ...]] = dict.fromkeys(source.tasks(), ())
    for sample in range(len(source) if source.facts else 0):
        episode, frame = source.location(sample)
        task = source.dataset.task(source.dataset.episode(episode).start + frame)
        if not phrases.get(task) and source.facts and (scene := source.facts.facts(episode, frame)):
            phrases[task] = tuple(target.phrase for target in scene.targets)
    return phrases


def load_vocabulary(config: TrainConfig) -> Vocabulary:
    """The run's tokenizers.

    Raises:
        FileNotFoundError: names the command that makes them.
    """
    try:
        text = TextTokenizer.load(config.assets_dir)
        action = load_action_tokenizer(config.action_tokenizer, config.assets_dir)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} Make the run's tokenizers first: uv run scripts/fit_tokenizers.py {_as_called(config)}"
        ) from error
    return _vocabulary(config, text, action)


def make_transform(config: TrainConfig, vocabulary: Vocabulary, stats: dict[str, NormStats]) -> TrainingTransform:
    """Samples -> batch rows of this run."""
    normalizer = make_normalizer(config, stats)
    inputs = ModelInput(cameras=config.model.cameras, image_hw=config.model.image_hw, normalizer=normalizer)
    return TrainingTransform(
        script=config.build_script(),
        vocabulary=vocabulary,
        inputs=inputs,
        max_token_len=config.data.max_token_len,
        max_supervised=config.data.max_supervised,
        state_noise=config.data.state_noise,
        asking=config.data.asking,
        unlabelled=config.data.unlabelled,
    )


def make_contract(config: TrainConfig, vocabulary: Vocabulary, stats: dict[str, NormStats]) -> Contract:
    """The contract that this run's checkpoints carry."""
    return Contract(
        robot=config.robot,
        script=config.script,
        questions=stored_questions(config.build_questions()),
        max_targets=config.max_targets,
        compatibility=config.compatibility,
        horizon=config.data.horizon,
        max_token_len=config.data.max_token_len,
        model=config.model,
        action_tokenizer=config.action_tokenizer,
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
        image_orientation=config.embodiment.image_orientation,
        asset_id=config.asset_id,
        config=_jsonable(config),
        revision=git_revision(),
    )


def git_revision() -> str:
    """Of the checkout that this package is run from; empty where it is installed, or where there is no git."""
    checkout = Path(inspire_fast.__file__).parents[1]
    git = shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return ""
    command = [git, "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    asked = subprocess.run(command, check=False, capture_output=True, text=True)
    return asked.stdout.strip()


def _jsonable(config: TrainConfig) -> dict:
    """The config for the record, without machine paths."""
    stored = asdict(config)
    for key in ("assets", "checkpoint_root", "init_from", "text_tokenizer"):
        stored.pop(key)
    stored["data"].pop("root")
    stored["data"]["parts"] = stored_parts(config.data.parts)
    return stored


def contract_files(config: TrainConfig, contract: Contract) -> dict[str, bytes]:
    """Everything that a checkpoint carries beside its arrays, by relative path."""
    files = {p.name: p.read_bytes() for p in config.assets_dir.iterdir() if p.is_file()}
    stats = stats_path(config)
    return {
        **files,
        "contract.json": contract.to_json().encode(),
        f"{config.asset_id}/norm_stats.json": stats.read_bytes(),
    }
