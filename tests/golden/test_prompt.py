"""openpi's prompt: discretised state, text, ids, masks and loss flags of the plain pi0-FAST script; reading actions.

Cases are the entries of `fast_prompt.json` and the rows of `fast_tokenizer_toy.json`, with arrays `<row>/...` in
the `.npz` of that name. The action codec is the vectors' own, built from its description there.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.dialogue.render import PromptFields, discretise, render, unroll
from inspire_fast.dialogue.script import SCRIPTS
from inspire_fast.dialogue.testing import DIRECTION
from tests.golden.cases import cases
from tests.golden.toy_codec import rows

STATES = "prefix_with_state_"
PROMPTS = cases("c_transforms*/fast_prompt.json", "{0.parent.name}")
TOKENIZERS = cases("c_transforms*/fast_tokenizer_toy.json", "{0.parent.name}")
SCRIPT = SCRIPTS["pi0_fast"](DIRECTION)


@pytest.mark.parametrize("path", PROMPTS)
def test_state_bins(path: Path) -> None:
    for case in json.loads(path.read_text(encoding="utf-8"))["discretization"]:
        bins = discretise(np.array(case["state"], case["state_dtype"]))
        np.testing.assert_array_equal(
            list(map(int, bins.split())), case["discretized"], err_msg=f"state bins of {path.parent.name}"
        )


@pytest.mark.parametrize("path", PROMPTS)
def test_prefix_text(path: Path) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))
    states = {case["state_name"]: case["state"] for case in stored["discretization"]}
    kinds = [key for key in stored if key.startswith(STATES)]
    assert kinds
    for key in kinds:
        for case in stored[key]:
            fields = PromptFields(instruction=case["prompt"], state=np.array(states[key.removeprefix(STATES)]))
            assert unroll(SCRIPT, fields)[0].text == case["prefix"]


@pytest.mark.parametrize("path", TOKENIZERS)
def test_ids_masks_and_loss_flags(path: Path) -> None:
    for number, (row, arrays, vocabulary) in enumerate(rows(path)):
        fields = PromptFields(instruction=row["prompt"], state=arrays["state"])
        actions = vocabulary.action.encode(arrays["actions"]) if "actions" in arrays else None
        tokens = render(SCRIPT, fields, vocabulary, action_ids=actions).tokens
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
        np.testing.assert_array_equal(ids[cut], arrays["tokens"][mask], err_msg=f"prompt ids of {name}")
        np.testing.assert_array_equal(
            causal[cut], arrays["ar_mask"][mask].astype(bool), err_msg=f"causal flags of {name}"
        )
        np.testing.assert_array_equal(supervised[cut], arrays["loss_mask"][mask], err_msg=f"loss flags of {name}")


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
