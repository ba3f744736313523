"""The two kinds of files that a text tokenizer is made from, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
import json
import re
from typing import Any, Protocol

import sentencepiece
import tokenizers as hf

# PaliGemma's location and segmentation tokens.
LOCATION = re.compile(r"<(?:loc\d{4}|seg\d{3})>")
BOS_NAMES, EOS_NAMES = ("<bos>", "<s>"), ("<eos>", "</s>")


class TextModel(Protocol):
    """Text <-> ids, without control ids around it."""

    data: bytes
    """The file."""
    suffix: str
    """Of the file's name."""

    @property
    def size(self) -> int:
        """All ids lie below it."""
        ...

    @property
    def bos_id(self) -> int | None: ...

    @property
    def eos_id(self) -> int | None: ...

    @property
    def reserved(self) -> re.Pattern[str]:
        """Names that `encode` would take for one id although they are no text."""
        ...

    def encode(self, text: str) -> list[int]:
        """Text -> ids, nothing around them."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Ids -> text; control ids decode to nothing."""
        ...

    def piece(self, token: int) -> str:
        """The piece of one id."""
        ...

    def find(self, piece: str) -> int | None:
        """The id of a piece, or None."""
        ...


class SentencePieceModel:
    """A SentencePiece model file. Its control pieces are never read from text; user-defined ones (`<loc0000>`) are."""

    suffix = ".model"

    def __init__(self, data: bytes) -> None:
        self.data = data
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_proto=data)
        except RuntimeError as error:
            raise ValueError(f"The file of {len(data)} bytes is no SentencePiece model: {error}.") from error

    @property
    def reserved(self) -> re.Pattern[str]:
        return LOCATION

    @property
    def size(self) -> int:
        return self._pieces.vocab_size()

    @property
    def bos_id(self) -> int | None:
        return self._pieces.bos_id() if self._pieces.bos_id() >= 0 else None

    @property
    def eos_id(self) -> int | None:
        return self._pieces.eos_id() if self._pieces.eos_id() >= 0 else None

    def encode(self, text: str) -> list[int]:
        """See `TextModel`."""
        return self._pieces.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """See `TextModel`; control ids decode to nothing."""
        return self._pieces.decode(list(ids))

    def piece(self, token: int) -> str:
        """See `TextModel`."""
        return self._pieces.id_to_piece(token)

    def find(self, piece: str) -> int | None:
        """See `TextModel`."""
        found = self._pieces.piece_to_id(piece)
        return found if self._pieces.id_to_piece(found) == piece else None


class TokenizerJson:
    """A `tokenizer.json` of the `tokenizers` library, such as Hugging Face's copy of PaliGemma's tokenizer."""

    suffix = ".json"

    def __init__(self, data: bytes) -> None:
        self.data = data
        try:
            self._tokenizer = hf.Tokenizer.from_str(data.decode())
        except Exception as error:  # the library raises nothing more specific
            raise ValueError(f"The file of {len(data)} bytes is no tokenizer.json: {error}.") from error
        self._vocabulary = self._tokenizer.get_vocab()
        added: list[dict[str, Any]] = json.loads(data).get("added_tokens") or []
        special = sorted((token["content"] for token in added if token.get("special")), key=len, reverse=True)
        # What the library would read from text.
        self._reserved = re.compile("|".join([LOCATION.pattern, *map(re.escape, special)]))
        # Special tokens behind the last piece of text (PaliGemma's `<image>`) do not count: nothing here makes them.
        ends = {self.bos_id, self.eos_id}
        counted = (i for p, i in self._vocabulary.items() if p not in special or LOCATION.fullmatch(p) or i in ends)
        self._size = max(counted, default=-1) + 1

    @property
    def size(self) -> int:
        return self._size

    @property
    def reserved(self) -> re.Pattern[str]:
        return self._reserved

    @property
    def bos_id(self) -> int | None:
        return next((self._vocabulary[name] for name in BOS_NAMES if name in self._vocabulary), None)

    @property
    def eos_id(self) -> int | None:
        return next((self._vocabulary[name] for name in EOS_NAMES if name in self._vocabulary), None)

    def encode(self, text: str) -> list[int]:
        """See `TextModel`."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """See `TextModel`; special ids decode to nothing."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def piece(self, token: int) -> str:
        """See `TextModel`."""
        piece = self._tokenizer.id_to_token(token)
        return "" if piece is None else piece

    def find(self, piece: str) -> int | None:
        """See `TextModel`."""
        found = self._vocabulary.get(piece)
        return found if found is not None and found < self.size else None
