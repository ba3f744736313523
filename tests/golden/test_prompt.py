"""openpi's prompt: discretised state, prefix text, ids, masks and loss flags of the plain pi0-FAST script."""

import json
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.dialogue.render import Turn, discretise, render, unroll
from inspire_fast.dialogue.scripts import SCRIPTS
from inspire_fast.dialogue.testing import DIRECTION
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.tokenizers.grammar import Grammar, fixed_length
from inspire_fast.tokenizers.text import TextTokenizer

FOLDER = Path(__file__).parent / "c_transforms"
PROMPT = json.loads((FOLDER / "fast_prompt.json").read_text())
TOY = json.loads((FOLDER / "fast_tokenizer_toy.json").read_text())
ARRAYS = np.load(FOLDER / "fast_tokenizer_toy.npz")


class ToyCodec:
    """The vectors' own action codec: one id per value, `clip(rint(10 a) + 20, 0, 40)`, row-major."""

    vocab_size = 41
    fingerprint = "toy"

    def encode(self, actions: np.ndarray) -> list[int]:
        return np.clip(np.rint(actions * 10) + 20, 0, 40).astype(int).ravel().tolist()

    def decode(self, ids: list[int], horizon: int, action_dim: int) -> np.ndarray:
        return ((np.array(ids) - 20) / 10).reshape(horizon, action_dim).astype(np.float32)

    def grammar(self, horizon: int, action_dim: int) -> Grammar:
        return fixed_length([41], horizon * action_dim)

    def save(self, directory: Path) -> None:
        raise AssertionError("the toy codec has no files")


@pytest.mark.parametrize("case", PROMPT["discretization"], ids=lambda c: c["state_name"])
def test_state_bins(case: dict) -> None:
    state = np.array(case["state"], case["state_dtype"])
    assert discretise(state) == " ".join(map(str, case["discretized"]))


@pytest.mark.parametrize("row", range(len(TOY["rows"])))
def test_ids_masks_and_loss_flags(row: int) -> None:
    case = TOY["rows"][row]
    vocabulary = Vocabulary(
        text=TextTokenizer.load(FOLDER / "toy_sp.model"), action=ToyCodec(), size=case["vocab_size"], skip=128
    )
    turn = Turn(instruction=case["prompt"], state=ARRAYS[f"{row}/state"])
    has_actions = f"{row}/actions" in ARRAYS
    actions = vocabulary.action.encode(ARRAYS[f"{row}/actions"]) if has_actions else None
    tokens = render(SCRIPTS["pi0_fast"](DIRECTION), turn, vocabulary, action_ids=actions).tokens
    upstream = ARRAYS[f"{row}/tokens"]
    mask = ARRAYS[f"{row}/token_mask"]
    ar, loss = ARRAYS[f"{row}/ar_mask"][mask], ARRAYS[f"{row}/loss_mask"][mask]
    ids, causal, supervised = tokens.ids, tokens.causal, tokens.supervised
    if not has_actions:
        # openpi's inference prompt stops before "Action: ", which its model then writes; ours gives it.
        inside = ~causal
        ids, causal, supervised = ids[inside], causal[inside], np.zeros(inside.sum(), bool)
    if case.get("truncated"):
        assert len(ids) == case["full_len"] > case["max_len"]  # ours never truncates; the training transform refuses
        n = case["max_len"]
        ids, causal, supervised = ids[:n], causal[:n], supervised[:n]
    np.testing.assert_array_equal(ids, upstream[mask])
    np.testing.assert_array_equal(causal, ar.astype(bool))
    np.testing.assert_array_equal(supervised, loss)


@pytest.mark.parametrize("case", PROMPT["prefix_with_state_rand"], ids=lambda c: c["prompt"])
def test_prefix_text(case: dict) -> None:
    state = next(c["state"] for c in PROMPT["discretization"] if c["state_name"] == "rand")
    turn = Turn(instruction=case["prompt"], state=np.array(state))
    assert unroll(SCRIPTS["pi0_fast"](DIRECTION), turn)[0].text == case["prefix"]
