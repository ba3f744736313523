"""Lengths of a run's dialogues as `fit_tokenizers` counted them, kept beside the statistics for every later start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
import hashlib
import json
from pathlib import Path

from inspire_fast.core.files import write_json
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.mixture import Part
from inspire_fast.data.training_transform import TrainingTransform
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.datasets.assets import stats_path, with_transforms
from inspire_fast.training.datasets.fingerprints import fingerprints
from inspire_fast.training.datasets.lengths import Longest, longest_dialogue
from inspire_fast.training.datasets.provenance import made_from
from inspire_fast.training.datasets.sources import uses_labels

FILE = "lengths.json"


def count_lengths(config: TrainConfig, parts: Sequence[Part[ChunkSource]], transform: TrainingTransform) -> Longest:
    """Counts the ids of all training samples and keeps the result; raises as `longest_dialogue`."""
    longest = longest_dialogue(with_transforms(config, parts, transform), transform)
    write_json(_path(config), {"of": _key(config, transform), **asdict(longest)})
    return longest


def known_lengths(config: TrainConfig, parts: Sequence[Part[ChunkSource]], transform: TrainingTransform) -> Longest:
    """The kept lengths, if they are of this data, text and tokenizers and fit; else counted. Writes nothing."""
    path, data = _path(config), config.data
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored.pop("of") == _key(config, transform):
            kept = Longest(**stored)
            if kept.ids <= data.max_token_len and kept.supervised <= data.max_supervised:
                return kept
    return longest_dialogue(with_transforms(config, parts, transform), transform)


def _path(config: TrainConfig) -> Path:
    return stats_path(config).with_name(FILE)


def _key(config: TrainConfig, transform: TrainingTransform) -> str:
    """Hash of all that decides lengths."""
    data, vocabulary = config.data, transform.vocabulary
    scripts = [repr(config.script_of(part)) for part in data.datasets]
    parts = [
        fingerprints(data.datasets, labelled=uses_labels(config)),
        made_from(config),
        (vocabulary.text.fingerprint, vocabulary.action.fingerprint, scripts),
        (data.normalisation, stats_path(config).read_text(encoding="utf-8")),
        (data.end_padding, data.max_image_age_s, data.unlabelled, bool(data.state_noise), data.skip_bad_episodes),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
