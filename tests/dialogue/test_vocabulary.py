import json

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.dialogue.render import PromptFields, render
from inspire_fast.dialogue.script import SCRIPTS
from inspire_fast.dialogue.testing import DIRECTION, random_chunks, tiny_vocabulary
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.tokenizers.bins import UniformBins
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from inspire_fast.tokenizers.text.models import TokenizerJson
from inspire_fast.tokenizers.text.tokenizer import LOCATIONS, SEGMENTS, TextTokenizer

TINY = tiny_vocabulary()


@pytest.fixture(scope="module")
def paligemma() -> Vocabulary:
    """PaliGemma's size: 256000 ids of text, 1024 locations, 128 segments; FAST with 1100 ids."""
    names = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{b:02X}>" for b in range(256)), "a"]
    names += [f"piece{i}" for i in range(256_000 - len(names))]
    model = {"type": "BPE", "vocab": {n: i for i, n in enumerate(names)}, "merges": [], "byte_fallback": True}
    stored = {"version": "1.0", "added_tokens": [], "model": {**model, "unk_token": "<unk>", "fuse_unk": True}}
    text = TextTokenizer(TokenizerJson(json.dumps(stored).encode())).with_pieces((*LOCATIONS, *SEGMENTS))
    action = FastTokenizer.fit(random_chunks(2000, 10, 7), vocab_size=1100)
    assert action.vocab_size == 1100
    return Vocabulary(text=text, action=action, size=257_152, skip=128)


def test_paligemmas_geometry(paligemma: Vocabulary) -> None:
    assert paligemma.text.vocab_size == 257_152
    ids = paligemma.from_action(np.arange(1100))
    np.testing.assert_array_equal(ids, 257_023 - np.arange(1100))
    # The collision to know: FAST's first 1024 ids are the locations, reversed. The slot decides what an id means.
    np.testing.assert_array_equal(ids[:1024], paligemma.text.location_ids[::-1])
    assert paligemma.text.piece(int(ids[0])) == "<loc1023>"


def test_a_typed_location_cannot_become_an_action(paligemma: Vocabulary) -> None:
    fields = PromptFields(instruction="go to <loc1023>", state=np.zeros(2))
    ids = render(SCRIPTS["pi0_fast"](DIRECTION), fields, paligemma).tokens.ids
    assert not np.isin(ids, paligemma.from_action(np.arange(1100))).any()


@given(ids=st.lists(st.integers(0, TINY.action.vocab_size - 1), max_size=20))
def test_action_ids_come_back(ids: list[int]) -> None:
    assert TINY.to_action(TINY.from_action(ids)).tolist() == ids


def test_ids_of_something_else_are_refused() -> None:
    last = TINY.action.vocab_size - 1
    with pytest.raises(ValueError, match=rf"span 0 \.\. {last + 1}; the tokenizer has 0 \.\. {last}"):
        TINY.from_action([0, last + 1])
    with pytest.raises(ValueError, match=rf"Id 5 at place 1 is no action id; action ids are {511 - last} \.\. 511"):
        TINY.to_action([511, 5])


def test_a_chunk_is_read_between_its_text() -> None:
    chunk = random_chunks(1, 10, 7, seed=3)[0]
    ids = TINY.action.encode(chunk)
    begin, end = TINY.text.encode("Action: "), TINY.text.encode("|", eos=True)
    written = [*TINY.text.encode("left;\n"), *begin, *TINY.from_action(ids), *end, 0, 0]
    for whole in (written, written[:-2], written[:-3]):  # without padding, and without EOS
        np.testing.assert_array_equal(TINY.read_chunk(whole, 10, 7), TINY.action.decode(ids, 10, 7))
    with pytest.raises(ValueError, match=r"do not end with '\|'"):
        TINY.read_chunk(written[: -len(end) - 2], 10, 7)
    with pytest.raises(ValueError, match="holds no 'Action: '"):
        TINY.read_chunk(TINY.from_action(ids), 10, 7)
    with pytest.raises(ValueError, match="is no action id"):
        TINY.read_chunk([*begin, 300, *end], 10, 7)
    with pytest.raises(ValueError, match="needs 70"):
        TINY.read_chunk([*begin, *TINY.from_action(ids[:-1]), *end], 10, 7)


def test_ranges_must_not_touch_unless_asked_for() -> None:
    with pytest.raises(ValueError, match="cannot hold 330 text ids and 200"):
        Vocabulary(text=TINY.text, action=UniformBins(bins=200), size=512, skip=0)
    with pytest.raises(ValueError, match="Enlarge the network's vocab_size"):
        Vocabulary(text=TINY.text, action=UniformBins(bins=8), size=300, skip=128)
    skipping = Vocabulary(text=TINY.text, action=UniformBins(bins=200), size=512, skip=128)
    assert (skipping.from_action([0]), skipping.to_action([383])) == ([383], [0])
