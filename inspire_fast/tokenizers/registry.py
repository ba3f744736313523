"""Action tokenizers by the name that stands in a checkpoint's contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import inspect
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.registry import Registry, unknown_name
from inspire_fast.tokenizers.action import ActionTokenizer
from inspire_fast.tokenizers.bins import UniformBins
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from inspire_fast.tokenizers.vq import ResidualVq


@dataclass(frozen=True, kw_only=True)
class ActionTokenizerSpec:
    """One kind of action tokenizer.

    Attributes:
        load: reads what `save` wrote into a directory.
        fit: makes one from chunks `[n, t, a]`; takes `vocab_size`, `cover` and `progress`, and parameters of its own.
    """

    load: Callable[[Path], ActionTokenizer]
    fit: Callable[..., ActionTokenizer]

    @property
    def parameters(self) -> list[str]:
        """Names of the kind's own parameters."""
        common = {"chunks", "vocab_size", "cover", "progress"}
        return [name for name in inspect.signature(self.fit).parameters if name not in common]


ACTION_TOKENIZERS: Registry[ActionTokenizerSpec] = Registry(
    "action tokenizer",
    {
        "fast": ActionTokenizerSpec(load=FastTokenizer.load, fit=FastTokenizer.fit),
        "bins": ActionTokenizerSpec(load=UniformBins.load, fit=UniformBins.fit),
        "vq": ActionTokenizerSpec(load=ResidualVq.load, fit=ResidualVq.fit),
    },
)


def load_action_tokenizer(name: str, directory: Path) -> ActionTokenizer:
    """Reads the action tokenizer `name` from the directory that its `save` wrote."""
    return ACTION_TOKENIZERS[name].load(directory)


def fit_action_tokenizer(
    name: str,
    chunks: np.ndarray,
    *,
    vocab_size: int,
    cover: np.ndarray | None = None,
    progress: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> ActionTokenizer:
    """Fits the action tokenizer `name`.

    Args:
        name: of `ACTION_TOKENIZERS`.
        chunks: normalised training chunks `[n, t, a]`.
        vocab_size: ids: an upper limit for FAST, the number of bins, all code books of VQ together.
        cover: further chunks that must be expressible (held-out ones).
        progress: shows bars on a terminal.
        parameters: the kind's own; see its `fit`.

    Raises:
        KeyError: no such tokenizer, or no such parameter; suggests the closest name.
    """
    spec = ACTION_TOKENIZERS[name]
    for parameter in parameters or {}:
        if parameter not in spec.parameters:
            raise KeyError(unknown_name(f"parameter of action tokenizer {name!r},", parameter, spec.parameters))
    return spec.fit(chunks, vocab_size=vocab_size, cover=cover, progress=progress, **(parameters or {}))
