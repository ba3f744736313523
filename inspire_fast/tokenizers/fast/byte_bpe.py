"""Byte-level BPE encoder with the ids of the `tokenizers` library, several times faster.

The library splits text into words with a slow regular expression, keeps an offset for every character, and merges pairs
one by one. Three shortcuts save the time without changing an id:

- Python's `re` splits the words, and one call merges all of them, with a separator in between that merges with nothing;
- the library's merging is called directly, without offsets;
- merges happen in the order of their ranks, so the first few ranks (runs of zeros: most merges of action chunks) are
  plain text replacements beforehand, which write each merged pair as one letter.
"""

from __future__ import annotations

from collections.abc import Sequence
import json

import tokenizers as hf
from tokenizers import models

from inspire_fast.tokenizers.fast.byte_level import byte_of_symbol, require_plain, token_bytes, word_splitter

EARLY = 12  # number of merges done as text replacements; further ones cost more time than they save
SEPARATOR = 0xFF  # a byte that UTF-8 never has
MARK = chr(0xDC00 + SEPARATOR)  # how `surrogateescape` writes that byte in text


class ByteBpe:
    """Text over the characters `chr(0) .. chr(characters - 1)` <-> ids. Other text may get other ids, or be refused.

    Args:
        tokenizer: tokenizer of the `tokenizers` library.
        characters: size of the alphabet.

    Raises:
        ValueError: not a plain byte-level BPE; lists what it has besides.
    """

    def __init__(self, tokenizer: hf.Tokenizer, *, characters: int) -> None:
        require_plain(tokenizer)
        self.tokenizer = tokenizer
        self.token_bytes = token_bytes(tokenizer)
        self._bytes = dict(enumerate(self.token_bytes))
        self._lengths = tuple(map(len, self.token_bytes))
        self._words = word_splitter(tokenizer, characters)
        vocabulary = tokenizer.get_vocab(with_added_tokens=False)
        # Every id that merging can make, as letters; a byte is the letter of the same number.
        spelled = {i: chr(b) for piece, b in byte_of_symbol().items() if (i := vocabulary.get(piece)) is not None}
        spelled = {i: letter for i, letter in spelled.items() if letter != chr(SEPARATOR)}
        self._single = frozenset(map(ord, spelled.values()))
        self._early, self._model = self._split_merges(_merges(tokenizer), spelled)

    def _split_merges(
        self, merges: list[tuple[int, int, int]], spelled: dict[int, str]
    ) -> tuple[list[tuple[str, str]], models.BPE]:
        """(replacements for the first merges, a model for the other merges)."""
        names = {letters: i for i, letters in spelled.items()}
        replacements: list[tuple[str, str]] = []
        others: list[tuple[str, str]] = []
        for rank, (left, right, whole) in enumerate(merges):
            if left not in spelled or right not in spelled:
                continue  # one half cannot occur
            letters = spelled[left] + spelled[right]
            if rank < EARLY:
                spelled.setdefault(whole, chr(0x100 + rank))
                replacements.append((letters, spelled[whole]))
                names[spelled[whole]] = whole
            else:
                spelled.setdefault(whole, letters)
                others.append((spelled[left], spelled[right]))
                names[letters] = whole  # several merges may spell one id
        return replacements, models.BPE({**names, chr(SEPARATOR): self.vocab_size}, others)

    @property
    def vocab_size(self) -> int:
        return len(self.token_bytes)

    def unspelled(self, characters: str) -> str:
        """Characters with a byte that has no id. The library drops them silently; `encode` raises."""
        return "".join(c for c in characters if not self._single.issuperset(c.encode()))

    def encode(self, text: str) -> list[int]:
        """Text -> ids that spell all of it.

        Raises:
            ValueError: ids are missing for some of the text.
        """
        marked = text if self._words is None else MARK.join(self._words(text))
        letters = marked.encode("utf-8", "surrogateescape").decode("latin-1")
        for pair, merged in self._early:
            letters = letters.replace(pair, merged)
        separator = self.vocab_size
        ids = [i for token in self._model.tokenize(letters) if (i := token.id) != separator]
        if (written := sum(map(self._lengths.__getitem__, ids))) != (length := len(text.encode())):
            missing = "".join(dict.fromkeys(self.unspelled(text)))[:20]
            raise ValueError(
                f"The BPE wrote {written} of the text's {length} bytes; it lacks ids for {missing!r}. Train it on text "
                "that holds these characters."
            )
        return ids

    def decode(self, ids: Sequence[int]) -> bytes:
        """Ids -> bytes.

        Raises:
            KeyError: an id that does not exist.
        """
        return b"".join(map(self._bytes.__getitem__, ids))


def _merges(tokenizer: hf.Tokenizer) -> list[tuple[int, int, int]]:
    """(left, right, merged) in the order of their ranks. Files hold pairs; older files hold one string each.

    Raises:
        ValueError: a merge uses the result of a later merge. Training cannot produce that, and merges would not happen
            in the order of their ranks.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    stored = json.loads(tokenizer.to_str())["model"]["merges"]
    halves = [merge.split(" ") if isinstance(merge, str) else merge for merge in stored]
    merges = [(vocabulary[left], vocabulary[right], vocabulary[left + right]) for left, right in halves]
    first_made: dict[int, int] = {}
    for rank, (_, _, whole) in enumerate(merges):
        first_made.setdefault(whole, rank)
    for rank, (left, right, _) in enumerate(merges):
        if max(first_made.get(left, -1), first_made.get(right, -1)) >= rank:
            raise ValueError(
                f"Merge {rank} of the BPE, {halves[rank]}, uses the result of a later merge; was it trained?"
            )
    return merges
