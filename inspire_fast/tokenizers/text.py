"""Text <-> ids with SentencePiece, set up as Gemma's tokenizer: pad 0, eos 1, bos 2, no dummy prefix, byte fallback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import hashlib
import io
from pathlib import Path

import sentencepiece

FILE = "text_tokenizer.model"


class TextTokenizer:
    """A SentencePiece model. Text is encoded as given: no cleaning, no added spaces."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        if self._pieces.bos_id() < 0 or self._pieces.eos_id() < 0:
            raise ValueError("The SentencePiece model needs BOS and EOS ids (PaliGemma: 2 and 1).")

    @property
    def vocab_size(self) -> int:
        return self._pieces.vocab_size()

    @property
    def bos_id(self) -> int:
        return self._pieces.bos_id()

    @property
    def eos_id(self) -> int:
        return self._pieces.eos_id()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model file."""
        return hashlib.sha256(self._model).hexdigest()

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """Text -> ids, with the named special ids around them."""
        ids = self._pieces.encode(text)
        return [self.bos_id] * bos + ids + [self.eos_id] * eos

    def decode(self, ids: Sequence[int]) -> str:
        """Ids -> text; special ids decode to nothing."""
        return self._pieces.decode(list(map(int, ids)))

    def piece(self, token: int) -> str:
        """The piece of one id, for people to read."""
        return self._pieces.id_to_piece(int(token))

    def save(self, directory: Path) -> None:
        """Writes `text_tokenizer.model`."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILE).write_bytes(self._model)

    @classmethod
    def load(cls, path: Path) -> TextTokenizer:
        """Reads a SentencePiece model file, or `text_tokenizer.model` inside a directory."""
        file = path / FILE if path.is_dir() else path
        if not file.is_file():
            raise FileNotFoundError(
                f"No SentencePiece model at {file}. PaliGemma's is `paligemma_tokenizer.model`; a small one is made by "
                "TextTokenizer.fit(...)."
            )
        return cls(file.read_bytes())

    @classmethod
    def fit(cls, texts: Iterable[str], *, vocab_size: int, symbols: Sequence[str] = ()) -> TextTokenizer:
        """Trains a small model on the spot.

        Args:
            texts: example texts; lines of a dialogue as the renderer writes them.
            vocab_size: an upper limit; bytes (256), special ids and `symbols` count.
            symbols: strings that must be one id each (answer words with their leading space).
        """
        target = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line for text in texts for line in text.splitlines() if line),
            model_writer=target,
            model_type="bpe",
            vocab_size=vocab_size,
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
        return cls(target.getvalue())
