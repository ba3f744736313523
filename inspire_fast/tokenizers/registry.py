"""Registry of action tokenizers, by the name in a checkpoint's contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from inspire_fast.core.errors import UnknownNameError
from inspire_fast.core.ranges import require_range
from inspire_fast.core.registry import Registry, unknown_name
from inspire_fast.tokenizers.action import ActionTokenizer, Chunks, round_trip
from inspire_fast.tokenizers.bins import UniformBins
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from inspire_fast.tokenizers.vq import ResidualVq

# Classes that implement `ActionTokenizer`, with the class methods `load(directory)` and
# `fit(chunks, *, vocab_size, cover, **parameters)`.
ACTION_TOKENIZERS: Registry[Any] = Registry(
    "action tokenizer", {"fast": FastTokenizer, "bins": UniformBins, "vq": ResidualVq}
)


def load_action_tokenizer(name: str, directory: Path) -> ActionTokenizer:
    """Reads the action tokenizer `name` from a directory that its `save` wrote to.

    Raises:
        KeyError: no such tokenizer; suggests the closest name.
        FileNotFoundError: the directory has no file of it.
    """
    return ACTION_TOKENIZERS[name].load(directory)


def fit_action_tokenizer(
    name: str,
    chunks: Chunks,
    *,
    vocab_size: int,
    cover: Chunks | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> ActionTokenizer:
    """Fits the action tokenizer `name` and tries it on chunks (`round_trip`). Shows progress bars on a terminal.

    Args:
        name: of `ACTION_TOKENIZERS`.
        chunks: normalised training chunks, read in blocks.
        vocab_size: number of ids: an upper limit for FAST, the number of bins, all code books of VQ together.
        cover: further chunks that must be expressible (held-out ones).
        parameters: further parameters of the tokenizer's `fit`.

    Raises:
        KeyError: no such tokenizer, or no such parameter; suggests the closest name.
        ValueError: a chunk cannot be written, or not be read back.
    """
    parameters = parameters or {}
    require_fit_parameters(name, parameters)
    fitted = ACTION_TOKENIZERS[name].fit(chunks, vocab_size=vocab_size, cover=cover, **parameters)
    for tried in (chunks, cover):
        if tried is not None and len(tried):
            round_trip(fitted, tried)
    return fitted


def require_fit_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    """Checks further parameters of a tokenizer's `fit`.

    Raises:
        KeyError: no such tokenizer, or no such parameter; suggests the closest name.
        ValueError: a number outside its range.
    """
    hints = get_type_hints(ACTION_TOKENIZERS[name].fit, include_extras=True)
    known = [p for p in hints if p not in ("chunks", "vocab_size", "cover", "return")]
    for parameter, value in parameters.items():
        if parameter not in known:
            raise UnknownNameError(unknown_name(f"parameter of action tokenizer {name!r},", parameter, known))
        require_range(f"{parameter} of action tokenizer {name!r}", value, hints[parameter])
