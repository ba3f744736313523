"""Grammar of byte-level ids that spell a given number of UTF-8 characters of an alphabet.

A character from U+0080 on has two or three bytes, so an id may end inside one. A state is the part of a character that
has been read; each complete character pays 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from inspire_fast.tokenizers.grammar import Grammar


def byte_grammar(token_bytes: Sequence[bytes], characters: int, owed: int) -> Grammar:
    """Sequences of ids that spell exactly `owed` characters of `chr(0) .. chr(characters - 1)`.

    Args:
        token_bytes: bytes of each id; an id without bytes is never allowed.
        characters: size of the alphabet.
        owed: length of the text.
    """
    alphabet = [chr(c).encode() for c in range(characters)]
    whole = set(alphabet)
    prefixes = sorted({c[:n] for c in alphabet for n in range(len(c))}, key=lambda p: (len(p), p))
    state_of = {p: n for n, p in enumerate(prefixes)}
    next_state = np.full((len(prefixes), len(token_bytes)), -1, np.int32)
    spent = np.zeros_like(next_state)
    for pending, state in state_of.items():
        for token, spelled in enumerate(token_bytes):
            rest, count = _read(pending, spelled, whole, state_of)
            if rest is not None:
                next_state[state, token], spent[state, token] = state_of[rest], count
    accepting = np.arange(len(prefixes)) == state_of[b""]
    return Grammar(next_state=next_state, spent=spent, accepting=accepting, owed=owed, start=state_of[b""])


def _read(pending: bytes, token: bytes, whole: Set[bytes], prefixes: Mapping[bytes, int]) -> tuple[bytes | None, int]:
    """(pending bytes, completed characters) after `token`; (None, 0) if it is illegal."""
    count = 0
    for byte in token:
        pending += bytes([byte])
        if pending in whole:
            pending, count = b"", count + 1
        elif pending not in prefixes:
            return None, 0
    return (pending, count) if token else (None, 0)
