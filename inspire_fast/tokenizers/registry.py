"""Action tokenizers by the name that stands in a checkpoint's contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inspire_fast.core.registry import Registry
from inspire_fast.tokenizers.action import ActionTokenizer
from inspire_fast.tokenizers.fast import FastTokenizer

ACTION_TOKENIZERS: Registry[Callable[[Path], ActionTokenizer]] = Registry(
    "action tokenizer", {"fast": FastTokenizer.load}
)


def load_action_tokenizer(name: str, directory: Path) -> ActionTokenizer:
    """Reads the action tokenizer `name` from the directory that its `save` wrote."""
    return ACTION_TOKENIZERS[name](directory)
