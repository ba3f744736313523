from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import pytest

from inspire_fast.dialogue.testing import DIRECTION, tiny_vocabulary
from inspire_fast.tokenizers.text import TextTokenizer


@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00▁"), max_size=40))
def test_any_text_round_trips(text: str) -> None:
    tokenizer = tiny_vocabulary().text
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_ids_are_gemmas() -> None:
    tokenizer = tiny_vocabulary().text
    assert (tokenizer.eos_id, tokenizer.bos_id) == (1, 2)
    assert tokenizer.encode("|", eos=True)[-1] == 1
    assert tokenizer.encode("Task", bos=True)[0] == 2


def test_symbols_are_one_id_each() -> None:
    tokenizer = tiny_vocabulary().text
    ids = [tokenizer.encode(" " + answer) for answer in DIRECTION.answers]
    assert all(len(i) == 1 for i in ids)


def test_file_round_trip(tmp_path: Path) -> None:
    tokenizer = tiny_vocabulary().text
    tokenizer.save(tmp_path)
    assert TextTokenizer.load(tmp_path).fingerprint == tokenizer.fingerprint
    with pytest.raises(FileNotFoundError, match="paligemma_tokenizer"):
        TextTokenizer.load(tmp_path / "absent")
