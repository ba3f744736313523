"""The action codec of the tokenizer's vectors and their rows, built from `fast_tokenizer_toy.json`."""

import json
from pathlib import Path
import re

import numpy as np

from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.tokenizers.grammar import Grammar, fixed_length
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer


class ToyCodec:
    """ "encode: clip(rint(a*10)+20,0,40) row-major ints; decode: (t-20)/10", with the numbers from that text."""

    fingerprint = "toy"

    def __init__(self, description: str) -> None:
        found = re.search(r"clip\(rint\(a\*([\d.]+)\)\+(\d+),(\d+),(\d+)\)", description)
        assert found, description
        self.scale, self.offset, self.low, self.high = float(found[1]), *map(int, found.groups()[1:])
        self.vocab_size = self.high + 1

    def encode(self, actions: np.ndarray) -> list[int]:
        return np.clip(np.rint(actions * self.scale) + self.offset, self.low, self.high).astype(int).ravel().tolist()

    def encode_batch(self, actions: np.ndarray) -> list[list[int]]:
        return [self.encode(chunk) for chunk in actions]

    def decode(self, ids: list[int], horizon: int, action_dim: int) -> np.ndarray:
        if len(ids) != horizon * action_dim:
            raise ValueError(f"{len(ids)} ids for {horizon} x {action_dim} values.")
        return ((np.array(ids) - self.offset) / self.scale).reshape(horizon, action_dim).astype(np.float32)

    def decode_batch(self, ids: list[list[int]], horizon: int, action_dim: int) -> np.ndarray:
        return np.stack([self.decode(row, horizon, action_dim) for row in ids])

    def grammar(self, horizon: int, action_dim: int) -> Grammar:
        return fixed_length([self.vocab_size], horizon * action_dim)

    def save(self, directory: Path) -> None:
        raise AssertionError("the toy codec has no files")


def rows(path: Path) -> list[tuple[dict, dict[str, np.ndarray], Vocabulary]]:
    """(row, its arrays, its vocabulary) of every row; a row without arrays or arrays without a row is an error."""
    described, arrays = json.loads(path.read_text(encoding="utf-8")), np.load(path.with_suffix(".npz"))
    skip = re.search(r"vocab_size-1-(\d+)-", described["mapping"])
    assert skip, described["mapping"]
    text, codec = TextTokenizer.load(path.with_name("toy_sp.model")), ToyCodec(described["toy_fast"])
    numbers = sorted({int(key.split("/")[0]) for key in arrays})
    assert numbers == list(range(len(described["rows"])))
    return [
        (
            row,
            {key.split("/", 1)[1]: arrays[key] for key in arrays if key.startswith(f"{number}/")},
            Vocabulary(text=text, action=codec, size=row["vocab_size"], skip=int(skip[1])),
        )
        for number, row in enumerate(described["rows"])
    ]
