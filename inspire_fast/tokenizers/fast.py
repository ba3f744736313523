"""FAST: action chunks as a discrete cosine transform, quantised, written as characters, packed by byte-level BPE.

Source: FAST paper (arXiv 2501.09747) and the conventions of the public processor. A chunk `[t, a]` becomes
`round(dct(actions) * scale)`, flattened time-major; integer `c` becomes the character `chr(c - min_token)`; a byte-level BPE
packs frequent runs of characters into ids.

Differences from the public processor, both on the safe side: every byte that a coefficient of the fitted range needs is in
the alphabet (the library silently drops characters it never saw), and a malformed sequence raises (the public one returns
zeros, which after unnormalisation is a real motion).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
import hashlib
import json
from pathlib import Path

import numpy as np
import tokenizers as hf
from tokenizers import decoders, models, pre_tokenizers, trainers

from inspire_fast.tokenizers.grammar import Grammar

FILE = "fast_tokenizer.json"
MAX_RANGE = 0xD800  # code points from here on are no characters


@lru_cache(maxsize=32)
def dct_matrix(n: int) -> np.ndarray:
    """Orthonormal DCT-II as a float64 matrix `[n, n]`: `coefficients = M @ x`, `x = M.T @ coefficients`."""
    k, i = np.mgrid[:n, :n]
    matrix = np.cos(np.pi * (2 * i + 1) * k / (2 * n)) * np.sqrt(2 / n)
    matrix[0] /= np.sqrt(2)
    return matrix


@lru_cache(maxsize=1)
def _byte_of_symbol() -> dict[str, int]:
    """Byte-level BPE writes each byte as one printable character (GPT-2's table); this is the inverse."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}


def quantise(actions: np.ndarray, scale: float) -> np.ndarray:
    """Float `[..., t, a]` -> int64 DCT coefficients `[..., t, a]`."""
    coefficients: np.ndarray = np.einsum("kt,...ta->...ka", dct_matrix(actions.shape[-2]), actions.astype(np.float64))
    return np.around(coefficients * scale).astype(np.int64)


class FastTokenizer:
    """A fitted FAST tokenizer.

    Args:
        bpe: byte-level BPE of the `tokenizers` library.
        scale: coefficients are multiplied by it before rounding (10 in the paper): the resolution is `1 / scale`.
        min_token, max_token: range of integer coefficients that can be expressed, inclusive.
    """

    def __init__(self, bpe: hf.Tokenizer, *, scale: float, min_token: int, max_token: int) -> None:
        if max_token < min_token or max_token - min_token >= MAX_RANGE:
            raise ValueError(
                f"FAST needs min_token <= max_token, less than {MAX_RANGE} apart; got {min_token} .. {max_token}."
            )
        self._bpe = bpe
        self.scale = float(scale)
        self.min_token = int(min_token)
        self.max_token = int(max_token)
        self._token_bytes = _token_bytes(bpe)

    @property
    def vocab_size(self) -> int:
        return self._bpe.get_vocab_size()

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._dump().encode()).hexdigest()

    def encode(self, actions: np.ndarray) -> list[int]:
        """See `ActionTokenizer.encode`. Resolution: coefficients are off by at most `0.5 / scale`."""
        if actions.ndim != 2 or not np.isfinite(actions).all():
            raise ValueError(f"FAST encodes finite chunks [t, a]; got shape {actions.shape}, or NaN/infinity inside.")
        coefficients = quantise(actions, self.scale)
        low, high = int(coefficients.min()), int(coefficients.max())
        if low < self.min_token or high > self.max_token:
            raise ValueError(
                f"The chunk's coefficients span {low} .. {high}, outside the fitted range {self.min_token} .. "
                f"{self.max_token}. Check the normalisation statistics, or fit the tokenizer on data that covers this."
            )
        text = "".join(map(chr, (coefficients - self.min_token).ravel().tolist()))
        ids = self._bpe.encode(text, add_special_tokens=False).ids
        if sum(len(self._token_bytes[i]) for i in ids) != len(text.encode()):
            raise ValueError(
                "The BPE dropped characters that it never saw in training; fit the tokenizer again with a full alphabet."
            )
        return ids

    def decode(self, ids: Sequence[int], horizon: int, action_dim: int) -> np.ndarray:
        """See `ActionTokenizer.decode`."""
        coefficients = self.coefficients(ids)
        if len(coefficients) != horizon * action_dim:
            raise ValueError(
                f"{len(ids)} FAST ids hold {len(coefficients)} coefficients; a chunk of {horizon} x {action_dim} needs "
                f"{horizon * action_dim}. Decode with `grammar()`, which cannot produce this."
            )
        matrix = dct_matrix(horizon)
        values = coefficients.reshape(horizon, action_dim) / self.scale
        return np.einsum("kt,ka->ta", matrix, values).astype(np.float32)

    def coefficients(self, ids: Sequence[int]) -> np.ndarray:
        """Ids -> int64 coefficients, flat.

        Raises:
            ValueError: an unknown id, bytes that are not UTF-8, or a coefficient outside the fitted range.
        """
        bad = [i for i in ids if not 0 <= i < len(self._token_bytes)]
        if bad:
            raise ValueError(f"FAST ids {bad[:5]} are outside 0 .. {len(self._token_bytes) - 1}.")
        raw = b"".join(self._token_bytes[i] for i in ids)
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"FAST ids do not spell whole characters (byte {error.start} of {len(raw)}).") from error
        coefficients = np.fromiter(map(ord, text), np.int64, len(text)) + self.min_token
        if len(coefficients) and coefficients.max() > self.max_token:
            raise ValueError(f"A coefficient of {coefficients.max()} exceeds the fitted maximum {self.max_token}.")
        return coefficients

    def grammar(self, horizon: int, action_dim: int) -> Grammar:
        """The byte automaton: states are the bytes of a character that has begun, and each complete character pays 1."""
        alphabet = [chr(c).encode() for c in range(self.max_token - self.min_token + 1)]
        characters = set(alphabet)
        prefixes = sorted({c[:n] for c in alphabet for n in range(len(c))}, key=lambda p: (len(p), p))
        state_of = {p: n for n, p in enumerate(prefixes)}
        next_state = np.full((len(prefixes), self.vocab_size), -1, np.int32)
        spent = np.zeros_like(next_state)
        for pending, state in state_of.items():
            for token, token_bytes in enumerate(self._token_bytes):
                if not token_bytes:  # a hole in the BPE's ids stands for nothing and is never allowed
                    continue
                rest, count = _read(pending, token_bytes, characters, state_of)
                if rest is not None:
                    next_state[state, token] = state_of[rest]
                    spent[state, token] = count
        accepting = np.arange(len(prefixes)) == state_of[b""]
        return Grammar(
            next_state=next_state,
            spent=spent,
            accepting=accepting,
            owed=horizon * action_dim,
            start=state_of[b""],
        )

    def _dump(self) -> str:
        settings = {"scale": self.scale, "min_token": self.min_token, "max_token": self.max_token}
        return json.dumps({**settings, "bpe": json.loads(self._bpe.to_str())}, sort_keys=True)

    def save(self, directory: Path) -> None:
        """Writes `fast_tokenizer.json`."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILE).write_text(self._dump())

    @classmethod
    def load(cls, directory: Path) -> FastTokenizer:
        """Reads what `save` wrote."""
        path = directory / FILE
        if not path.is_file():
            raise FileNotFoundError(f"No FAST tokenizer at {path}; fit one with FastTokenizer.fit(...).save(...).")
        stored = json.loads(path.read_text())
        return cls(
            hf.Tokenizer.from_str(json.dumps(stored["bpe"])),
            scale=stored["scale"],
            min_token=stored["min_token"],
            max_token=stored["max_token"],
        )

    @classmethod
    def fit(
        cls,
        chunks: Iterable[np.ndarray],
        *,
        vocab_size: int = 1024,
        scale: float = 10.0,
        coefficient_range: tuple[int, int] | None = None,
    ) -> FastTokenizer:
        """Fits the BPE on normalised chunks `[t, a]`.

        Args:
            chunks: training chunks, all of one shape.
            vocab_size: at most this many ids.
            scale: see the class.
            coefficient_range: widens the range beyond what `chunks` hold (for held-out data, or from a robot's limits).
        """
        quantised = [quantise(np.asarray(chunk), scale) for chunk in chunks]
        if not quantised:
            raise ValueError("Cannot fit FAST on no chunks.")
        low, high = min(int(q.min()) for q in quantised), max(int(q.max()) for q in quantised)
        if coefficient_range is not None:
            low, high = min(low, coefficient_range[0]), max(high, coefficient_range[1])
        if high - low >= MAX_RANGE:
            raise ValueError(
                f"The chunks' coefficients span {low} .. {high}, more than characters can express. A nearly constant action "
                "dimension, whose quantiles coincide, makes rare other values huge: look at the normalisation statistics."
            )
        symbols = {byte: symbol for symbol, byte in _byte_of_symbol().items()}
        alphabet = sorted({symbols[byte] for c in range(high - low + 1) for byte in chr(c).encode()})
        if vocab_size < len(alphabet):
            raise ValueError(f"vocab_size {vocab_size} is smaller than the {len(alphabet)} bytes of {low} .. {high}.")
        bpe = hf.Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # with GPT-2's regex, as the public one
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=[],
            initial_alphabet=alphabet,
            max_token_length=10000,
            show_progress=False,
        )
        texts = ("".join(map(chr, (q - low).ravel().tolist())) for q in quantised)
        bpe.train_from_iterator(texts, trainer=trainer)
        return cls(bpe, scale=scale, min_token=low, max_token=high)


def _token_bytes(bpe: hf.Tokenizer) -> list[bytes]:
    table = _byte_of_symbol()
    pieces = [bpe.id_to_token(i) or "" for i in range(bpe.get_vocab_size())]
    unknown = sorted({c for piece in pieces for c in piece if c not in table})
    if unknown:
        raise ValueError(f"The BPE is not byte-level: its pieces hold {unknown[:5]}.")
    return [bytes(table[c] for c in piece) for piece in pieces]


def _read(pending: bytes, token: bytes, characters: set[bytes], prefixes: dict[bytes, int]) -> tuple[bytes | None, int]:
    """(bytes still pending, characters completed) after `token`; (None, 0) where it is illegal."""
    count = 0
    for byte in token:
        pending += bytes([byte])
        if pending in characters:
            pending, count = b"", count + 1
        elif pending not in prefixes:
            return None, 0
    return pending, count
