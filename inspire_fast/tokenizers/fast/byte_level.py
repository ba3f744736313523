"""GPT-2's byte-level pre-tokenization: bytes as printable symbols, text as words."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
import json
import re
from typing import Any

import tokenizers as hf
from tokenizers import Regex, decoders, models, pre_tokenizers

# GPT-2's words; L, N, S are letters, numbers and spaces, O everything else, V everything but spaces.
WORDS = "'s|'t|'re|'ve|'m|'ll|'d| ?{L}+| ?{N}+| ?{O}+|{S}+(?!{V})|{S}+"


@lru_cache(maxsize=1)
def byte_of_symbol() -> dict[str, int]:
    """Printable character -> byte: the inverse of GPT-2's table, by which a byte-level BPE spells bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}


def new_byte_bpe() -> hf.Tokenizer:
    """An untrained byte-level BPE like the public FAST processor's: GPT-2's words, no normaliser."""
    bpe = hf.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return bpe


def require_plain(tokenizer: hf.Tokenizer) -> None:
    """Checks that a tokenizer is a BPE over the bytes of its text and nothing more.

    Raises:
        ValueError: it has further parts; lists them.
    """
    stored = json.loads(tokenizer.to_str())
    model: dict[str, Any] = stored["model"]
    split: dict[str, Any] = stored.get("pre_tokenizer") or {}
    unwanted = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    found = {key: model.get(key) for key in (*unwanted, "ignore_merges")}
    found |= {"normalizer": stored.get("normalizer"), "add_prefix_space": split.get("add_prefix_space")}
    odd = [f"{key} {value!r}" for key, value in found.items() if value]
    if model.get("type") != "BPE" or split.get("type") != "ByteLevel" or odd:
        raise ValueError(
            "FAST needs a plain byte-level BPE (model BPE, pre_tokenizer ByteLevel, nothing else); this tokenizer has "
            + ", ".join([f"model {model.get('type')!r}", f"pre_tokenizer {split.get('type')!r}", *odd])
        )


def token_bytes(tokenizer: hf.Tokenizer) -> tuple[bytes, ...]:
    """Bytes of each id; empty for unused ids and control tokens.

    A piece that is not made of byte symbols spells itself, as in the library's decoder: the public recipe puts the
    letters of the text into its alphabet.
    """
    table, vocabulary = byte_of_symbol(), tokenizer.get_vocab()
    control = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    pieces = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for piece, index in vocabulary.items():
        if piece not in control:
            pieces[index] = bytes(table[c] for c in piece) if all(c in table for c in piece) else piece.encode()
    return tuple(pieces)


def word_splitter(tokenizer: hf.Tokenizer, characters: int) -> Callable[[str], list[str]] | None:
    """Splits text over `chr(0) .. chr(characters - 1)` into words as the tokenizer does; None if it does not split.

    Python's `re` has no classes for letters and numbers, so the pattern lists what the library counts as such.
    """
    if not json.loads(tokenizer.to_str())["pre_tokenizer"].get("use_regex", True):
        return None
    alphabet = "".join(map(chr, range(characters)))
    letters, numbers, spaces = (_runs(alphabet, others) for others in (r"\P{L}", r"\P{N}", r"\S"))
    classes = {"L": _one_of(letters), "N": _one_of(numbers), "S": _one_of(spaces)}
    others = {"O": _none_of(spaces + letters + numbers), "V": _none_of(spaces)}
    return re.compile(WORDS.format(**classes, **others)).findall


def _one_of(runs: str) -> str:
    """A character of these. `[]` would be read on to the next bracket, so an empty class is written as its meaning."""
    return f"[{runs}]" if runs else r"[^\s\S]"


def _none_of(runs: str) -> str:
    """A character that is not of these."""
    return f"[^{runs}]" if runs else r"[\s\S]"


def _runs(alphabet: str, others: str) -> str:
    """The alphabet without what the library's regex matches, as ranges for a character class."""
    runs = [run for run, _ in pre_tokenizers.Split(Regex(others), "removed").pre_tokenize_str(alphabet)]
    return "".join(f"{re.escape(run[0])}-{re.escape(run[-1])}" for run in runs)
