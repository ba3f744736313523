"""Text tokenizer, set up like Gemma's: text as given, no dummy prefix, BOS and EOS only on request.

Text from a person stays text: "<loc0001>" or "<bos>" in an instruction is spelled in ordinary pieces and never becomes
the location or control id of that name. Code that needs those ids looks them up by name (`find`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
import hashlib
import io
import itertools
import json
from pathlib import Path

import numpy as np
import sentencepiece

from inspire_fast.core.files import write_bytes, write_json
from inspire_fast.tokenizers.text.models import SentencePieceModel, TextModel, TokenizerJson

STEM, APPENDED = "text_tokenizer", "text_tokenizer_appended.json"
UNKNOWN = ("<unk>", "[UNK]")  # pieces in place of characters that a model lacks
_PRIVATE = "\U0010fffd"  # only a model with an id for every byte can write it
# File names in a folder: ours, openpi's, a Hugging Face repository's.
NAMES = (f"{STEM}.model", f"{STEM}.json", "paligemma_tokenizer.model", "tokenizer.model", "tokenizer.json")
# PaliGemma's 1024 bins of an image's height and width, and its 128 codes of a mask's shape.
LOCATIONS = tuple(f"<loc{i:04d}>" for i in range(1024))
SEGMENTS = tuple(f"<seg{i:03d}>" for i in range(128))


class TextTokenizer:
    """A text tokenizer. Text is encoded as given: no cleaning, no added spaces.

    Args:
        model: SentencePiece model or `tokenizer.json`.
        appended: pieces after the model's own; `encode` never makes them, `find` gives their ids.

    Raises:
        ValueError: the model has no BOS or EOS, or puts a space in front of the text.
    """

    def __init__(self, model: TextModel, *, appended: Sequence[str] = ()) -> None:
        bos, eos = model.bos_id, model.eos_id
        if bos is None or eos is None:
            raise ValueError(f"The text tokenizer needs BOS and EOS ids (PaliGemma: 2 and 1); got {bos} and {eos}.")
        if (pieces := "".join(map(model.piece, model.encode("a")))) != "a":
            raise ValueError(
                f"The text tokenizer reads 'a' as {pieces!r}: it changes its input (a dummy prefix?). Dialogues are "
                "encoded segment by segment and need a model that does not, such as Gemma's."
            )
        self._model = model
        self._appended = tuple(appended)
        self.bos_id, self.eos_id = bos, eos
        self._unknown = frozenset(map(model.find, UNKNOWN))
        self._writes_all = self._writes(_PRIVATE)

    @property
    def vocab_size(self) -> int:
        return self._model.size + len(self._appended)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model file and the appended names."""
        appended = json.dumps(self._appended).encode() if self._appended else b""
        return hashlib.sha256(self._model.data + appended).hexdigest()

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """Text -> ids, with BOS and EOS on request. Names of special ids inside the text stay text.

        Raises:
            ValueError: the model has no ids for a character (none that has ids for bytes, such as PaliGemma's).
        """
        if not self._writes_all and (missing := [c for c in dict.fromkeys(text) if not self._writes(c)]):
            raise ValueError(
                f"The text tokenizer has no ids for {missing[:10]} in {text!r:.80}, which would be lost. Reword it, or "
                "use a tokenizer with an id for every byte (PaliGemma's, or one fitted here)."
            )
        ids = list(itertools.chain.from_iterable(map(self._model.encode, self._plain_parts(text))))
        return [self.bos_id] * bos + ids + [self.eos_id] * eos

    def _writes(self, character: str) -> bool:
        ids = self._model.encode(character)
        return bool(ids) and self._unknown.isdisjoint(ids)

    def _plain_parts(self, text: str) -> list[str]:
        """The text, cut after the first character of every reserved name, so that the model reads none as one id."""
        cuts = [0, *(found.start() + 1 for found in self._model.reserved.finditer(text)), len(text)]
        return [text[start:end] for start, end in itertools.pairwise(cuts)]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Ids -> text; special ids decode to nothing, appended ones to their names."""
        parts: list[str] = []
        for ours, group in itertools.groupby(map(int, ids), lambda i: i >= self._model.size):
            run = list(group)
            parts.extend(map(self.piece, run) if ours else [self._model.decode(run)])
        return "".join(parts)

    def piece(self, token: int) -> str:
        """Piece of one id, for people to read."""
        if not 0 <= token < self.vocab_size:
            raise ValueError(f"Id {token} is outside 0 .. {self.vocab_size - 1}.")
        return self._model.piece(int(token)) if token < self._model.size else self._appended[token - self._model.size]

    def find(self, piece: str) -> int | None:
        """Id of a piece by its name, or None."""
        if piece in self._appended:
            return self._model.size + self._appended.index(piece)
        return self._model.find(piece)

    @cached_property
    def location_ids(self) -> np.ndarray:
        """Ids of `<loc0000>`, `<loc0001>`, ..., int32; possibly none (PaliGemma: 256000 .. 257023)."""
        found = itertools.takewhile(lambda i: i is not None, map(self.find, LOCATIONS))
        return np.array(list(found), np.int32)

    def with_pieces(self, names: Iterable[str]) -> TextTokenizer:
        """This tokenizer with further pieces after its last id; pieces that it already has keep their ids."""
        return TextTokenizer(self._model, appended=(*self._appended, *(n for n in names if self.find(n) is None)))

    def save(self, directory: Path) -> None:
        """Writes `text_tokenizer.model` or `.json`, and the appended names if there are any."""
        directory.mkdir(parents=True, exist_ok=True)
        for stale in (f"{STEM}.model", f"{STEM}.json", APPENDED):
            (directory / stale).unlink(missing_ok=True)
        write_bytes(directory / f"{STEM}{self._model.suffix}", self._model.data)
        if self._appended:
            write_json(directory / APPENDED, self._appended, indent=None)

    @classmethod
    def load(cls, path: Path) -> TextTokenizer:
        """Reads a SentencePiece model, a `tokenizer.json`, or a folder that holds one of them.

        Raises:
            FileNotFoundError: there is none; lists the known names.
        """
        file = next((path / name for name in NAMES if (path / name).is_file()), None) if path.is_dir() else path
        if file is None or not file.is_file():
            raise FileNotFoundError(
                f"No text tokenizer at {path}: expected a SentencePiece model, a tokenizer.json, or a folder with one "
                f"of {', '.join(NAMES)}. PaliGemma's is `paligemma_tokenizer.model`; TextTokenizer.fit(...) makes a "
                "small one."
            )
        appended = file.parent / APPENDED
        names = json.loads(appended.read_text(encoding="utf-8")) if file.stem == STEM and appended.is_file() else ()
        data = file.read_bytes()
        model = TokenizerJson(data) if file.suffix == TokenizerJson.suffix else SentencePieceModel(data)
        return cls(model, appended=names)

    @classmethod
    def fit(
        cls, texts: Iterable[str], *, vocab_size: int, symbols: Sequence[str] = (), locations: int = 0
    ) -> TextTokenizer:
        """Trains a small model.

        Args:
            texts: example texts; lines of a dialogue as the renderer writes them.
            vocab_size: largest number of ids, including bytes (256), special ids, `symbols` and locations.
            symbols: strings that must be one id each (answer words with their leading space).
            locations: number of location ids `<loc0000>`, ... to append.
        """
        target = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line for text in texts for line in text.splitlines() if line),
            model_writer=target,
            model_type="bpe",
            vocab_size=vocab_size - locations,
            hard_vocab_limit=False,
            pad_id=0,
            eos_id=1,
            bos_id=2,
            unk_id=3,
            byte_fallback=True,
            split_digits=True,
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            normalization_rule_name="identity",
            user_defined_symbols=["\n", "|", *(s.replace(" ", "▁") for s in symbols)],
            minloglevel=2,
        )
        return cls(SentencePieceModel(target.getvalue()), appended=LOCATIONS[:locations])
