"""Files of text tokenizers: SentencePiece models and `tokenizer.json`, with one interface."""

from __future__ import annotations

from collections.abc import Sequence
import json
import re
from typing import Any

import sentencepiece
import tokenizers as hf

# PaliGemma's location and segmentation tokens.
LOCATION = re.compile(r"<(?:loc\d{4}|seg\d{3})>")
BOS_NAMES, EOS_NAMES = ("<bos>", "<s>"), ("<eos>", "</s>")


class SentencePieceModel:
    """A SentencePiece model file. Its control pieces are never read from text; user-defined ones (`<loc0000>`) are.

    Attributes:
        data: bytes of the file.
        size: upper limit of the ids, exclusive.
        bos_id, eos_id: None without one.
        reserved: names that `encode` would take for one id although they are no text.

    Raises:
        ValueError: the bytes are no such model.
    """

    suffix = ".model"
    reserved = LOCATION

    def __init__(self, data: bytes) -> None:
        self.data = data
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_proto=data)
        except RuntimeError as error:
            raise ValueError(f"The file of {len(data)} bytes is no SentencePiece model: {error}.") from error
        self.size: int = self._pieces.vocab_size()
        ends = (self._pieces.bos_id(), self._pieces.eos_id())
        self.bos_id, self.eos_id = (None if token < 0 else token for token in ends)

    def encode(self, text: str) -> list[int]:
        """Text -> ids, without BOS and EOS."""
        return self._pieces.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Ids -> text; control ids decode to nothing."""
        return self._pieces.decode(list(ids))

    def piece(self, token: int) -> str:
        """Piece of one id."""
        return self._pieces.id_to_piece(token)

    def find(self, piece: str) -> int | None:
        """Id of a piece, or None."""
        found = self._pieces.piece_to_id(piece)
        return found if self._pieces.id_to_piece(found) == piece else None


class TokenizerJson:
    """A `tokenizer.json` of the `tokenizers` library, such as Hugging Face's copy of PaliGemma's tokenizer.

    Attributes:
        data, size, bos_id, eos_id, reserved: see `SentencePieceModel`.

    Raises:
        ValueError: the bytes are no such file.
    """

    suffix = ".json"

    def __init__(self, data: bytes) -> None:
        self.data = data
        try:
            self._tokenizer = hf.Tokenizer.from_str(data.decode())
        except Exception as error:  # the library has no more specific error
            raise ValueError(f"The file of {len(data)} bytes is no tokenizer.json: {error}.") from error
        self._vocabulary = self._tokenizer.get_vocab()
        added: list[dict[str, Any]] = json.loads(data).get("added_tokens") or []
        special = sorted((token["content"] for token in added if token.get("special")), key=len, reverse=True)
        # Names that the library would read from text.
        self.reserved = re.compile("|".join([LOCATION.pattern, *map(re.escape, special)]))
        self.bos_id, self.eos_id = (
            next((self._vocabulary[name] for name in names if name in self._vocabulary), None)
            for names in (BOS_NAMES, EOS_NAMES)
        )
        # Special tokens after the last text piece (PaliGemma's `<image>`) do not count: no code here makes them.
        ends = {self.bos_id, self.eos_id}
        counted = (i for p, i in self._vocabulary.items() if p not in special or LOCATION.fullmatch(p) or i in ends)
        self.size = max(counted, default=-1) + 1

    def encode(self, text: str) -> list[int]:
        """Text -> ids, without BOS and EOS."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Ids -> text; special ids decode to nothing."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def piece(self, token: int) -> str:
        """Piece of one id."""
        piece = self._tokenizer.id_to_token(token)
        return "" if piece is None else piece

    def find(self, piece: str) -> int | None:
        """Id of a piece, or None."""
        found = self._vocabulary.get(piece)
        return found if found is not None and found < self.size else None


TextModel = SentencePieceModel | TokenizerJson
"""Text <-> ids, without control ids around them."""
