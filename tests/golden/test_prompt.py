"""openpi's prompt: discretised state, prefix text, ids, masks and loss flags of the plain pi0-FAST script, and reading actions back.

Cases are the entries of `fast_prompt.json` and the rows of `fast_tokenizer_toy.json`, with arrays `<row>/...` beside it. The
action codec is the vectors' own, built from its description there.
"""

import json
from pathlib import Path
import re

import numpy as np
import pytest

from inspire_fast.dialogue.render import Turn, discretise, render, unroll
from inspire_fast.dialogue.scripts import SCRIPTS
from inspire_fast.dialogue.testing import DIRECTION
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.tokenizers.grammar import Grammar, fixed_length
from inspire_fast.tokenizers.text import TextTokenizer
from tests.golden.cases import cases, compare

STATES = "prefix_with_state_"
PROMPTS = cases("c_transforms*/fast_prompt.json", "{0.parent.name}")
TOKENIZERS = cases("c_transforms*/fast_tokenizer_toy.json", "{0.parent.name}")
SCRIPT = SCRIPTS["pi0_fast"](DIRECTION)


class ToyCodec:
    """ "encode: clip(rint(a*10)+20,0,40) row-major ints; decode: (t-20)/10", with the numbers that stand there."""

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
    described, arrays = json.loads(path.read_text()), np.load(path.with_suffix(".npz"))
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


@pytest.mark.parametrize("path", PROMPTS)
def test_state_bins(path: Path) -> None:
    for case in json.loads(path.read_text())["discretization"]:
        bins = discretise(np.array(case["state"], case["state_dtype"]))
        compare("state bins", path.parent.name, list(map(int, bins.split())), case["discretized"])


@pytest.mark.parametrize("path", PROMPTS)
def test_prefix_text(path: Path) -> None:
    stored = json.loads(path.read_text())
    states = {case["state_name"]: case["state"] for case in stored["discretization"]}
    kinds = [key for key in stored if key.startswith(STATES)]
    assert kinds
    for key in kinds:
        for case in stored[key]:
            turn = Turn(instruction=case["prompt"], state=np.array(states[key.removeprefix(STATES)]))
            assert unroll(SCRIPT, turn)[0].text == case["prefix"]


@pytest.mark.parametrize("path", TOKENIZERS)
def test_ids_masks_and_loss_flags(path: Path) -> None:
    for number, (row, arrays, vocabulary) in enumerate(rows(path)):
        turn = Turn(instruction=row["prompt"], state=arrays["state"])
        actions = vocabulary.action.encode(arrays["actions"]) if "actions" in arrays else None
        tokens = render(SCRIPT, turn, vocabulary, action_ids=actions).tokens
        ids, causal, supervised = tokens.ids, tokens.causal, tokens.supervised
        if actions is None:
            # openpi's inference prompt stops before "Action: ", which its model then writes; ours gives it.
            ids, causal, supervised = ids[~causal], causal[~causal], np.zeros((~causal).sum(), bool)
        if row.get("truncated"):  # ours never cuts: the training transform refuses, and names this length
            assert len(ids) == row["full_len"] > row["max_len"]
        cut, mask = slice(row["max_len"]), arrays["token_mask"]
        assert len(mask) == row["max_len"]
        assert not np.diff(mask.astype(int)).any() or len(ids) == mask.sum()
        name = f"{path.parent.name} row {number}"
        compare("prompt ids", name, ids[cut], arrays["tokens"][mask])
        compare("causal flags", name, causal[cut], arrays["ar_mask"][mask].astype(bool))
        compare("loss flags", name, supervised[cut], arrays["loss_mask"][mask])


@pytest.mark.parametrize("path", TOKENIZERS)
def test_actions_are_read_whole_or_not_at_all(path: Path) -> None:
    seen = 0
    for _, arrays, vocabulary in rows(path):
        if "postfix_tokens" not in arrays:
            continue
        seen += 1
        whole, (horizon, dims) = arrays["postfix_tokens"], arrays["actions"].shape
        codec, begin = vocabulary.action, len(vocabulary.text.encode("Action: "))
        wanted = codec.decode(codec.encode(arrays["actions"]), horizon, dims)
        for key, ids in {"extracted": whole, "extracted_zero_padded": np.pad(whole, (0, 20))}.items():
            found = vocabulary.read_chunk(ids, horizon, dims)
            np.testing.assert_array_equal(found, wanted)
            if arrays[key].any():  # openpi reads ids through text, which may lose them, and then returns zeros
                np.testing.assert_allclose(found, arrays[key], atol=1e-6)
        for key, ids in {
            "extracted_truncated": whole[: begin + horizon * dims // 2],
            "extracted_no_action_prefix": whole[begin:],
        }.items():
            assert key in arrays
            with pytest.raises(ValueError, match=r"cut off|holds no 'Action: '"):
                vocabulary.read_chunk(ids, horizon, dims)
    assert seen
