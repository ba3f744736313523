"""Assets of a run: normalisation statistics and tokenizers, made once by a command, never on the fly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import shlex

import numpy as np

from inspire_fast.core.console import command_line
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.mixture import Part
from inspire_fast.data.normalization.compute import source_stats
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.normalization.stats import (
    NormStats,
    load_norm_stats,
    save_norm_stats,
)
from inspire_fast.data.question_dropout import QuestionDropout
from inspire_fast.data.training_transform import ModelInput, TrainingTransform
from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.locations import Locations
from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.render import STATE_BINS, PromptFields, unroll
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.tokenizers.action import BLOCK, ActionTokenizer
from inspire_fast.tokenizers.registry import fit_action_tokenizer, load_action_tokenizer
from inspire_fast.tokenizers.text.paligemma import load_paligemma
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.dataset_config import DataPart
from inspire_fast.training.datasets.provenance import made_from, require_same_quantities, warn_of_other_samples
from inspire_fast.training.datasets.sources import joined, of_split, open_parts, recorded
from inspire_fast.training.named_configs import config_names, load_config


def stats_path(config: TrainConfig) -> Path:
    """Path of the run's `norm_stats.json`."""
    return config.assets_dir / config.asset_id / "norm_stats.json"


def compute_stats(config: TrainConfig) -> dict[str, NormStats]:
    """Computes and writes statistics of the training samples as they are drawn (actions by chunk, as openpi)."""
    stats = source_stats(joined(recorded(open_parts(config, "train"))), delta=config.delta)
    save_norm_stats(stats_path(config), stats, made_from=made_from(config))
    return stats


def load_stats(config: TrainConfig) -> dict[str, NormStats]:
    """The run's statistics.

    Raises:
        FileNotFoundError: there are none; names the command that makes them.
        ValueError: they are of another robot, of other dimensions or of another `delta`.
    """
    path, called = stats_path(config), _as_called(config)
    stats = load_norm_stats(path, config_name=called)
    require_same_quantities(config, path, f"Compute them again: {command_line('compute_norm_stats')} {called}")
    return stats


def _as_called(config: TrainConfig) -> str:
    """The config on a command line: its name, and what makes other assets than the named config would."""
    named = load_config(config.name) if config.name in config_names() else config
    words = [config.name]
    if config.data.parts != named.data.parts:
        words += ["--data.parts", *map(str, config.data.parts)]
    elif not config.data.parts and config.data.root != named.data.root:
        words += ["--data.root", str(config.data.root)]
    for option, ours, theirs in (
        ("--robot", config.robot, named.robot),
        ("--dialogue.script", config.dialogue.script, named.dialogue.script),
        ("--data.unlabelled", config.data.unlabelled, named.data.unlabelled),
    ):
        words += [option, ours] if ours != theirs else []
    if config.data.delta is not None and config.data.delta != named.data.delta:
        words += ["--data.delta", *map(str, config.data.delta)]
    if config.assets != named.assets:
        words += ["--assets", str(config.assets)]
    return shlex.join(words)


def make_normalizer(config: TrainConfig, stats: dict[str, NormStats]) -> Normalizer:
    """The run's conversion between the robot's units and the network's."""
    periods = config.embodiment.canonical_periods
    return Normalizer(stats=stats, kind=config.data.normalisation, delta=config.delta, periods=periods)


def fit_tokenizers(config: TrainConfig) -> Vocabulary:
    """Fits the text tokenizer on the run's dialogues and the action tokenizer on its chunks, and writes both.

    The action tokenizer learns from training chunks only, each once whatever the weight of its part. Its range also
    covers held-out chunks, so that they can be scored.
    """
    stats, tokenizers = load_stats(config), config.tokenizers
    warn_of_other_samples(config, stats_path(config))
    parts = open_parts(config, "train")
    vocabulary = _vocabulary(
        config,
        text=_text_tokenizer(config, stats, [part.source for part in parts]),
        action=fit_action_tokenizer(
            tokenizers.action,
            normalised_chunks(config, stats, parts),
            vocab_size=tokenizers.action_vocab_size,
            cover=normalised_chunks(config, stats, of_split(parts, "held_out")),
            parameters=tokenizers.action_parameters,
        ),
    )
    vocabulary.text.save(config.assets_dir)
    vocabulary.action.save(config.assets_dir)
    return vocabulary


@dataclass(frozen=True, kw_only=True)
class NormalisedChunks:
    """Normalised action chunks `[n, t, a]`, dataset after dataset, in blocks; none is kept.

    Attributes:
        sources: the datasets' samples.
        normalizer: from the robot's units to the network's.
    """

    sources: Sequence[ChunkSource]
    normalizer: Normalizer

    def __iter__(self) -> Iterator[np.ndarray]:
        for source in self.sources:
            for start in range(0, len(source), BLOCK):
                part = slice(start, start + BLOCK)
                yield self.normalizer.actions(source.chunks(part), source.states(part))

    def __len__(self) -> int:
        """Number of chunks."""
        return sum(map(len, self.sources))


def normalised_chunks(
    config: TrainConfig, stats: dict[str, NormStats], parts: Sequence[Part[ChunkSource]]
) -> NormalisedChunks:
    """The parts' action chunks; single pictures have none."""
    sources = [part.source for part in recorded(parts)]
    return NormalisedChunks(sources=sources, normalizer=make_normalizer(config, stats))


def _text_tokenizer(config: TrainConfig, stats: dict[str, NormStats], sources: Sequence[ChunkSource]) -> TextTokenizer:
    source = config.tokenizers.text
    if source is None:
        return _fit_text(config, stats, sources)
    return load_paligemma() if source == "paligemma" else TextTokenizer.load(Path(source))


def _vocabulary(config: TrainConfig, text: TextTokenizer, action: ActionTokenizer) -> Vocabulary:
    return Vocabulary(text=text, action=action, size=config.model.vocab_size, skip=config.skip)


def _fit_text(config: TrainConfig, stats: dict[str, NormStats], sources: Sequence[ChunkSource]) -> TextTokenizer:
    """A text tokenizer with one id per answer word and per number of the state, which keeps sequences short."""
    scripts = dict.fromkeys([config.build_script(), *(config.script_of(part) for part in config.data.datasets)])
    phrases: dict[str, tuple[str, ...]] = {}
    for source in sources:
        for task, targets in _phrases(source).items():
            phrases[task] = phrases.get(task) or targets
    texts = []
    for task, targets in phrases.items():
        fields = PromptFields(instruction=task, state=np.zeros(len(stats["state"])), targets=targets)
        texts += ["".join(piece.text for piece in unroll(script, fields)) for script in scripts]
    questions = _all_questions(config)
    words = [f" {w}" for question in questions for answer in question.answers for w in answer.split()]
    bins = {form.bins for form in map(form_of, questions) if isinstance(form, Locations)}
    if len(bins) > 1:
        raise ValueError(f"The run's questions have {sorted(bins)} bins of locations; a vocabulary has one number.")
    locations = max(bins, default=0)
    numbers = [f" {n}" for n in range(-1, STATE_BINS)]
    symbols = list(dict.fromkeys([*words, *numbers]))
    try:
        return TextTokenizer.fit(
            texts * 8, vocab_size=config.tokenizers.text_vocab_size, symbols=symbols, locations=locations
        )
    except RuntimeError as error:  # SentencePiece's
        raise ValueError(
            f"text_vocab_size={config.tokenizers.text_vocab_size} is too small: bytes need 256 ids, words of answers "
            f"and of the state {len(symbols)}, locations {locations}, letters and special ids some more. Raise it. "
            f"SentencePiece says: {' '.join(str(error).split())}"
        ) from error


def _phrases(source: ChunkSource) -> dict[str, tuple[str, ...]]:
    """Task -> its targets in the words of its first labelled sample; empty without labels."""
    phrases: dict[str, tuple[str, ...]] = dict.fromkeys(source.tasks(), ())
    for task, scene in source.first_facts().items():
        phrases[task] = phrases.get(task) or tuple(target.phrase for target in scene.targets)
    return phrases


def load_vocabulary(config: TrainConfig) -> Vocabulary:
    """The run's tokenizers in one id space.

    Raises:
        FileNotFoundError: there are none; names the command that makes them.
    """
    try:
        text = TextTokenizer.load(config.assets_dir)
        action = load_action_tokenizer(config.tokenizers.action, config.assets_dir)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} Make the run's tokenizers first: {command_line('fit_tokenizers')} {_as_called(config)}"
        ) from error
    return _vocabulary(config, text, action)


def make_transform(config: TrainConfig, vocabulary: Vocabulary, stats: dict[str, NormStats]) -> TrainingTransform:
    """The run's transform from samples to batch rows."""
    normalizer = make_normalizer(config, stats)
    inputs = ModelInput(cameras=config.model.cameras, image_hw=config.model.image_hw, normalizer=normalizer)
    return TrainingTransform(
        script=config.build_script(),
        vocabulary=vocabulary,
        inputs=inputs,
        max_token_len=config.data.max_token_len,
        max_supervised=config.data.max_supervised,
        state_noise=config.data.state_noise,
        question_dropout=config.data.question_dropout,
        unlabelled=config.data.unlabelled,
        placement=config.placement,
    )


def with_transforms(
    config: TrainConfig, parts: Sequence[Part[ChunkSource]], transform: TrainingTransform
) -> tuple[Part[ChunkSource], ...]:
    """The parts; those with a script, questions or loss weight of their own get a transform of their own."""
    return tuple(
        replace(part, transform=_transform_of(config, wanted, transform)) if own(wanted) else part
        for part, wanted in zip(parts, config.data.datasets, strict=True)
    )


def own(part: DataPart) -> bool:
    """Whether a part is not rendered as the run's other samples."""
    return bool(part.script or part.questions or part.loss_weight != 1)


def _transform_of(config: TrainConfig, part: DataPart, transform: TrainingTransform) -> TrainingTransform:
    script = config.script_of(part)
    # Without actions, a sample that asks nothing teaches nothing.
    dropout = transform.question_dropout if script.acts else QuestionDropout()
    return replace(transform, script=script, weight=part.loss_weight, question_dropout=dropout)


def _all_questions(config: TrainConfig) -> list[Question]:
    """The questions of all parts' scripts, and of the run's."""
    scripts = [config.build_script(), *(config.script_of(part) for part in config.data.datasets)]
    return list(dict.fromkeys(question for script in scripts for question in script.questions))
