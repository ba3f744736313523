"""FAST action tokenizer: quantised DCT coefficients, written as characters, compressed by byte-level BPE.

Sources: FAST paper (arXiv 2501.09747) and the conventions of the public processor. A chunk `[t, a]` becomes
`round(dct(actions) * scale)`, flattened time-major; integer `c` becomes the character `chr(c - min_token)`; a
byte-level BPE merges frequent runs of characters into ids.

Differences from the public processor, all on the safe side: the alphabet has every byte that a coefficient of the
fitted range needs (the library silently drops characters it never saw); a coefficient outside the range raises (the
public one clips from below); a malformed sequence raises (the public one returns zeros, which unnormalise to a real
motion). `fast.processor` reads and writes files in the public processor's format, with the same ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
import hashlib
import json
from pathlib import Path
import sys
from typing import Annotated

import numpy as np
import tokenizers as hf
from tokenizers import trainers
from tqdm import tqdm

from inspire_fast.core.files import write_text
from inspire_fast.core.ranges import Count, Positive, Range
from inspire_fast.tokenizers.action import (
    Chunks,
    blocks,
    picked,
    require_chunks,
    require_count,
    require_file,
    require_finite,
    require_shape,
    shape_of,
)
from inspire_fast.tokenizers.fast import processor as processor_files
from inspire_fast.tokenizers.fast.byte_bpe import ByteBpe
from inspire_fast.tokenizers.fast.byte_level import byte_of_symbol, new_byte_bpe
from inspire_fast.tokenizers.fast.grammar import byte_grammar
from inspire_fast.tokenizers.fast.processor import ProcessorSettings
from inspire_fast.tokenizers.grammar import Grammar

Coefficient = Annotated[int, Range()]
FILE = "fast_tokenizer.json"
LEARNT_FROM = 7_000_000  # coefficients; training of the BPE takes some 120 bytes for each
MAX_RANGE = 0xD800  # first code point that is no character (surrogates)


@lru_cache(maxsize=32)
def dct_matrix(n: int) -> np.ndarray:
    """Orthonormal DCT-II as a float64 matrix `[n, n]`: `coefficients = M @ x`, `x = M.T @ coefficients`."""
    k, i = np.mgrid[:n, :n]
    matrix = np.cos(np.pi * (2 * i + 1) * k / (2 * n)) * np.sqrt(2 / n)
    matrix[0] /= np.sqrt(2)
    return matrix


def quantise(actions: np.ndarray, scale: float) -> np.ndarray:
    """Float `[..., t, a]` -> DCT coefficients `[..., t, a]`: integers, as float64 (NaN stays NaN)."""
    coefficients = dct_matrix(actions.shape[-2]) @ np.asarray(actions, np.float64)
    coefficients *= scale
    return np.rint(coefficients, out=coefficients)


class FastTokenizer:
    """A fitted FAST tokenizer.

    Args:
        bpe: byte-level BPE of the `tokenizers` library.
        scale: factor of the coefficients before rounding (10 in the paper): the resolution is `1 / scale`.
        min_token, max_token: inclusive range of integer coefficients that can be expressed.
        horizon, action_dim: shape of the chunks; None takes any (the universal tokenizer).
    """

    def __init__(
        self,
        bpe: hf.Tokenizer,
        *,
        scale: float,
        min_token: int,
        max_token: int,
        horizon: int | None = None,
        action_dim: int | None = None,
    ) -> None:
        if max_token < min_token or max_token - min_token >= MAX_RANGE or not scale > 0:
            raise ValueError(
                f"FAST needs min_token <= max_token, less than {MAX_RANGE} apart, and a positive scale; got "
                f"{min_token} .. {max_token} and scale {scale}."
            )
        self.scale = float(scale)
        self.min_token = int(min_token)
        self.max_token = int(max_token)
        self.shape = (horizon, action_dim)
        self._alphabet = "".join(map(chr, range(max_token - min_token + 1)))
        self._bpe = ByteBpe(bpe, characters=len(self._alphabet))
        self._inverses: dict[int, np.ndarray] = {}
        self._unspelled = frozenset(ord(c) + min_token for c in self._bpe.unspelled(self._alphabet))

    @property
    def bpe(self) -> hf.Tokenizer:
        """The library's own tokenizer, with the same ids."""
        return self._bpe.tokenizer

    @property
    def vocab_size(self) -> int:
        return self._bpe.vocab_size

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._dump().encode()).hexdigest()

    def encode(self, actions: np.ndarray) -> list[int]:
        """Ids of a chunk `[t, a]`; each coefficient has an error of at most `0.5 / scale`."""
        actions = require_chunks(actions, "FAST", ndim=2, shape=self.shape, finite=False)
        return self._write(quantise(actions, self.scale), actions)

    def encode_batch(self, actions: np.ndarray) -> list[list[int]]:
        """Ids of chunks `[n, t, a]`."""
        actions = require_chunks(actions, "FAST", ndim=3, shape=self.shape, finite=False)
        return [self._write(*both) for both in zip(quantise(actions, self.scale), actions, strict=True)]

    def _write(self, coefficients: np.ndarray, actions: np.ndarray) -> list[int]:
        self._require_in_range(coefficients, actions)
        return self._bpe.encode(_text(coefficients - self.min_token))

    def require_expressible(self, actions: np.ndarray) -> None:
        """Refuses chunks `[n, t, a]` that `encode` would refuse.

        Raises:
            ValueError: see `encode`.
        """
        actions = require_chunks(actions, "FAST", ndim=3, shape=self.shape, finite=False)
        self._require_in_range(quantise(actions, self.scale), actions)

    def _require_in_range(self, coefficients: np.ndarray, actions: np.ndarray) -> None:
        low, high = np.minimum.reduce(coefficients, axis=None), np.maximum.reduce(coefficients, axis=None)
        if not self.min_token <= low <= high <= self.max_token:  # false with NaN
            require_finite(actions)
            raise ValueError(
                f"The chunk's coefficients span {low:.0f} .. {high:.0f}, outside the fitted range {self.min_token} .. "
                f"{self.max_token}. Check the normalisation statistics, or fit the tokenizer on data that covers this."
            )
        if self._unspelled and (missing := self._unspelled.intersection(coefficients.ravel().tolist())):
            raise ValueError(
                f"The BPE cannot spell the coefficients {sorted(map(int, missing))[:5]} of the fitted range "
                f"{self.min_token} .. {self.max_token}: it never saw them in training, and the public processor would "
                "drop them silently. Fit a tokenizer on data that holds them (FastTokenizer.fit spells the whole "
                "range)."
            )

    def decode(self, ids: Sequence[int], horizon: int, action_dim: int) -> np.ndarray:
        """Inverse DCT of the coefficients of one chunk."""
        return (self._inverse(horizon) @ self._read(ids, horizon, action_dim)).astype(np.float32)

    def decode_batch(self, ids: Sequence[Sequence[int]], horizon: int, action_dim: int) -> np.ndarray:
        """Inverse DCT of the coefficients of several chunks."""
        coefficients = [self._read(row, horizon, action_dim) for row in ids]
        return (self._inverse(horizon) @ np.reshape(coefficients, (-1, horizon, action_dim))).astype(np.float32)

    def _inverse(self, horizon: int) -> np.ndarray:
        if (found := self._inverses.get(horizon)) is None:
            found = self._inverses[horizon] = np.ascontiguousarray(dct_matrix(horizon).T / self.scale)
        return found

    def _read(self, ids: Sequence[int], horizon: int, action_dim: int) -> np.ndarray:
        """Coefficients, as float64 `[t, a]`."""
        require_shape("FAST", self.shape, horizon, action_dim)
        coefficients = self._characters(ids).astype(np.float64)
        require_count("FAST", "coefficients", len(coefficients), horizon, action_dim, horizon * action_dim)
        coefficients += self.min_token
        return coefficients.reshape(horizon, action_dim)

    def _characters(self, ids: Sequence[int]) -> np.ndarray:
        """Code points that the ids spell, uint32 `[n]`.

        Raises:
            ValueError: an unknown id, bytes that are not UTF-8, or a coefficient outside the fitted range.
        """
        try:
            raw = self._bpe.decode(ids)
        except KeyError as error:
            raise ValueError(f"FAST id {error.args[0]} is outside 0 .. {self.vocab_size - 1}.") from error
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"FAST ids do not spell whole characters (byte {error.start} of {len(raw)}).") from error
        characters = np.frombuffer(text.encode("utf-32-le"), "<u4")
        if text and (highest := np.maximum.reduce(characters)) >= len(self._alphabet):
            raise ValueError(
                f"A coefficient of {highest + self.min_token} exceeds the fitted maximum {self.max_token}."
            )
        return characters

    def grammar(self, horizon: int, action_dim: int) -> Grammar:
        """Grammar of `horizon * action_dim` coefficients, each within the fitted range."""
        require_shape("FAST", self.shape, horizon, action_dim)
        return byte_grammar(self._bpe.token_bytes, len(self._alphabet), horizon * action_dim)

    def _dump(self) -> str:
        settings: dict[str, object] = {"scale": self.scale, "min_token": self.min_token, "max_token": self.max_token}
        if self.shape != (None, None):
            settings["shape"] = self.shape
        return json.dumps({**settings, "bpe": json.loads(self.bpe.to_str())}, sort_keys=True)

    def save(self, directory: Path) -> None:
        """Writes `fast_tokenizer.json`."""
        write_text(directory / FILE, self._dump())

    @classmethod
    def load(cls, directory: Path) -> FastTokenizer:
        """Reads `fast_tokenizer.json`."""
        stored = json.loads(require_file(directory, FILE, cls).read_text(encoding="utf-8"))
        horizon, action_dim = stored.get("shape", (None, None))
        return cls(
            hf.Tokenizer.from_str(json.dumps(stored["bpe"])),
            scale=stored["scale"],
            min_token=stored["min_token"],
            max_token=stored["max_token"],
            horizon=horizon,
            action_dim=action_dim,
        )

    @classmethod
    def load_processor(
        cls, source: str | Path = processor_files.REPO_ID, *, download: bool = False, cache_dir: Path | None = None
    ) -> FastTokenizer:
        """Reads the public processor's files from a folder or the Hugging Face cache; see `processor.find`."""
        bpe, settings = processor_files.read(processor_files.find(source, download=download, cache_dir=cache_dir))
        return cls(bpe, **asdict(settings))

    def save_processor(self, directory: Path) -> None:
        """Writes the public processor's files, so that upstream code can use this tokenizer."""
        horizon, action_dim = self.shape
        settings = ProcessorSettings(
            scale=self.scale,
            min_token=self.min_token,
            max_token=self.max_token,
            horizon=horizon,
            action_dim=action_dim,
        )
        processor_files.write(directory, self.bpe, settings)

    @classmethod
    def fit(
        cls,
        chunks: Chunks,
        *,
        vocab_size: int = 1024,
        cover: Chunks | None = None,
        scale: Positive = 10.0,
        coefficient_range: tuple[Coefficient, Coefficient] | None = None,
        max_chunks: Count | None = None,
        processor: str | None = None,
        download: bool = False,
    ) -> FastTokenizer:
        """Fits the BPE on normalised chunks, which are read in blocks.

        Args:
            chunks: training chunks, all of one shape.
            vocab_size: largest number of ids.
            cover: further chunks that must be expressible (held-out ones); the BPE does not see them.
            scale: see the class.
            coefficient_range: widens the range of coefficients beyond that of the chunks (from a robot's limits).
            max_chunks: the BPE learns from a random subset, always the same, if there are more training chunks. The
                range covers all. None: as many as hold `LEARNT_FROM` coefficients (100,000 chunks of 10 x 7).
            processor: folder or repository of a public processor to use instead of fitting; the chunks must be within
                its range.
            download: fetch the processor if the Hugging Face cache lacks it.
        """
        number, horizon, action_dim = shape_of(chunks, "FAST")
        every = [chunks] if cover is None else [chunks, cover]
        if processor is not None:
            found = cls.load_processor(processor, download=download)
            for block in (block for given in every for block in blocks(given, "FAST")):
                found.require_expressible(block)
            return found
        low, high = _span(every, scale, coefficient_range or ())
        rng = np.random.default_rng(0)
        most = min(number, max_chunks or max(1, LEARNT_FROM // (horizon * action_dim)))
        numbers = np.sort(rng.choice(number, most, replace=False)) if number > most else np.arange(number)
        texts = (_text(c) for b in picked(chunks, "FAST", numbers) for c in quantise(b, scale) - low)
        bpe = _fit_bpe(texts, len(numbers), high - low + 1, vocab_size)
        return cls(bpe, scale=scale, min_token=low, max_token=high, horizon=horizon, action_dim=action_dim)


def _span(every: Sequence[Chunks], scale: float, widened: Sequence[int]) -> tuple[int, int]:
    """Smallest and largest coefficient of all chunks, and of `widened`."""
    ends = [int(end) for end in widened]
    for block in (block for chunks in every for block in blocks(chunks, "FAST")):
        coefficients = quantise(block, scale)
        ends += [int(coefficients.min()), int(coefficients.max())]
    return min(ends), max(ends)


def _fit_bpe(texts: Iterator[str], number: int, size: int, vocab_size: int) -> hf.Tokenizer:
    """BPE trained on a number of texts, whose characters are code points below `size`."""
    if size > MAX_RANGE:
        raise ValueError(
            f"The chunks' coefficients span {size} integers, more than characters can express. Normalisation makes "
            "rare values huge if an action dimension is nearly constant and its quantiles coincide: check its "
            "statistics."
        )
    symbols = {byte: symbol for symbol, byte in byte_of_symbol().items()}
    alphabet = sorted({symbols[byte] for c in range(size) for byte in chr(c).encode()})
    if vocab_size < len(alphabet):
        raise ValueError(f"vocab_size {vocab_size} is smaller than the {len(alphabet)} bytes of {size} coefficients.")
    bpe = new_byte_bpe()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[],
        initial_alphabet=alphabet,
        max_token_length=10000,
        show_progress=sys.stderr.isatty(),  # its own bar of the merges, after ours of the chunks
    )
    bpe.train_from_iterator(tqdm(texts, "FAST: reading chunks", total=number, disable=None), trainer=trainer)
    return bpe


def _text(characters: np.ndarray) -> str:
    """Code points -> text; in UTF-32 a character is its code point."""
    return characters.astype("<u4").tobytes().decode("utf-32-le")
