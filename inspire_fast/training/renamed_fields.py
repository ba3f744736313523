"""Renamed config fields: old name -> new name, for stored configs and for errors on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
import re
from typing import Any

# Dotted paths in a `TrainConfig`. A renamed group renames every field below it.
RENAMED: Mapping[str, str] = {
    "script": "dialogue.script",
    "questions": "dialogue.questions",
    "question_parameters": "dialogue.question_parameters",
    "max_targets": "dialogue.max_targets",
    "compatibility": "dialogue.compatibility",
    "action_tokenizer": "tokenizers.action",
    "action_tokenizer_parameters": "tokenizers.action_parameters",
    "action_vocab_size": "tokenizers.action_vocab_size",
    "text_tokenizer": "tokenizers.text",
    "text_vocab_size": "tokenizers.text_vocab_size",
    "vocab_skip": "tokenizers.vocab_skip",
    "accumulate": "grad_accum_steps",
    "augmentation": "data.augmentation",
    "loader_threads": "data.loader_threads",
    "data.asking": "data.question_dropout",
    "ema_decay": "optimizer.ema_decay",
    "checkpoint_root": "checkpoint.root",
    "save_every": "checkpoint.every",
    "keep": "checkpoint.keep",
    "log_every": "logging.every",
    "trackers": "logging.trackers",
    "eval_every": "evaluation.every",
    "eval_samples": "evaluation.samples",
    "decode_every": "evaluation.decode_every",
    "decode_samples": "evaluation.decode_samples",
}


def renamed(path: str) -> str:
    """The new dotted path of a field, or `path` itself."""
    for old, new in RENAMED.items():
        if path == old or path.startswith(f"{old}."):
            return new + path.removeprefix(old)
    return path


def with_new_names(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A config as a contract stores it, with the names of today."""
    config = deepcopy(dict(stored))
    for old, new in RENAMED.items():
        *groups, name = old.split(".")
        if name in (group := _group(config, groups)):
            *new_groups, new_name = new.split(".")
            _group(config, new_groups)[new_name] = group.pop(name)
    return config


def _group(config: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    for name in names:
        config = config.setdefault(name, {})
    return config


def refuse_old_options(args: Sequence[str]) -> None:
    """Refuses options of the command line that have a new name.

    Raises:
        ValueError: names the new option of each.
    """
    flags = {arg.removeprefix("--").partition("=")[0].replace("-", "_") for arg in args if arg.startswith("--")}
    if old := {flag: new for flag in sorted(flags) if (new := renamed(flag)) != flag}:
        raise ValueError("; ".join(f"{_option(flag)} is now {_option(new)}" for flag, new in old.items()) + ".")


def refuse_old_keyword(error: TypeError, file: Path) -> None:
    """Explains a `TypeError` of a config file that uses the old name of a field; does nothing about others.

    Raises:
        ValueError: names the file, the old field and the new one.
    """
    keyword = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    for old, new in RENAMED.items():
        if keyword and keyword[1] == old.rpartition(".")[2]:
            raise ValueError(f"{file}: the field {old} is now {new}.") from error


def _option(path: str) -> str:
    return "--" + path.replace("_", "-")
