"""Byte-level BPE: equal ids to the library's, on movements, noise and difficult texts."""

from functools import lru_cache
import json

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import tokenizers as hf
from tokenizers import trainers

from inspire_fast.dialogue.testing import random_chunks
from inspire_fast.tokenizers.fast.byte_bpe import ByteBpe
from inspire_fast.tokenizers.fast.byte_level import byte_of_symbol, new_byte_bpe
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer, quantise

CHARACTERS = 400  # letters, numbers, spaces and signs of one byte and of two


@lru_cache(maxsize=1)
def trained() -> hf.Tokenizer:
    """Merges of all kinds: runs, digits after spaces, letters of two bytes, contractions."""
    rng = np.random.default_rng(0)
    bpe = new_byte_bpe()
    alphabet = [
        symbol for symbol, byte in byte_of_symbol().items() if any(byte in chr(c).encode() for c in range(CHARACTERS))
    ]
    trainer = trainers.BpeTrainer(vocab_size=700, min_frequency=2, show_progress=False, initial_alphabet=alphabet)
    near = (np.abs(rng.normal(scale=rng.choice([1, 8, 60], (3000, 1)), size=(3000, 40))) + 60).astype(int) % CHARACTERS
    texts = ["".join(map(chr, row)) for row in near] + ["^" * n + "_" * (n % 3) + "'s'll  7 7" for n in range(200)]
    bpe.train_from_iterator(texts, trainer=trainer)
    return bpe


@settings(max_examples=300)
@given(
    text=st.one_of(
        st.text(st.characters(max_codepoint=CHARACTERS - 1), max_size=60),
        st.text(st.sampled_from("^_`"), max_size=300),
        st.text(st.sampled_from("'sStTrelvmd 17\t\n^aé²"), max_size=80),
    )
)
def test_ids_are_the_librarys(text: str) -> None:
    encoder = bpe()
    assert encoder.encode(text) == trained().encode(text).ids
    assert encoder.decode(encoder.encode(text)) == text.encode()


@lru_cache(maxsize=1)
def bpe() -> ByteBpe:
    return ByteBpe(trained(), characters=CHARACTERS)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.5])
def test_ids_are_the_librarys_on_thousands_of_chunks(noise: float) -> None:
    rng = np.random.default_rng(1)
    chunks = random_chunks(1500, 50, 7) * 0.3 + rng.normal(scale=noise, size=(1500, 50, 7))
    fast = FastTokenizer.fit(chunks[:500], vocab_size=600, cover=chunks)
    texts = ["".join(map(chr, row.ravel().astype(int))) for row in quantise(chunks, fast.scale) - fast.min_token]
    assert fast.encode_batch(chunks) == [encoding.ids for encoding in fast.bpe.encode_batch(texts)]


@pytest.mark.parametrize("characters", [*range(1, 12), 32, 33, 48, 49, 58, 65, 66, 128])
def test_ids_are_the_librarys_over_every_small_alphabet(characters: int) -> None:
    """Some have no letters, numbers or spaces: a class of the regular expression is empty."""
    encoder, rng = ByteBpe(trained(), characters=characters), np.random.default_rng(characters)
    for length in (0, 1, 70, 70, 70):
        text = "".join(map(chr, rng.integers(characters, size=length)))
        assert encoder.encode(text) == trained().encode(text).ids
        assert encoder.decode(encoder.encode(text)) == text.encode()


def test_several_merges_may_spell_one_id() -> None:
    merges = [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc"), ("abc", "d"), ("d", "abc")]
    pieces = ["a", "b", "c", "d", "ab", "bc", "abc", "abcd", "dabc"]
    tokenizer = new_byte_bpe()
    tokenizer.model = hf.models.BPE({piece: i for i, piece in enumerate(pieces)}, merges)
    encoder = ByteBpe(tokenizer, characters=128)
    rng = np.random.default_rng(0)
    for _ in range(300):
        text = "".join(rng.choice(list("abcd"), rng.integers(1, 15)))
        assert encoder.encode(text) == tokenizer.encode(text).ids


def test_characters_without_ids_are_known() -> None:
    tokenizer = new_byte_bpe()
    tokenizer.train_from_iterator(["abc"], trainer=trainers.BpeTrainer(show_progress=False))
    encoder = ByteBpe(tokenizer, characters=128)
    assert encoder.unspelled("abxc\u00e9") == "x\u00e9"
    with pytest.raises(ValueError, match=r"wrote 3 of the text's 5 bytes; it lacks ids for 'x\^'"):
        encoder.encode("abxc^")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "normalizer"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer 'Whitespace'"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}}, "add_prefix_space"),
    ],
)
def test_other_kinds_of_tokenizers_are_refused(change: dict, words: str) -> None:
    other = hf.Tokenizer.from_str(json.dumps({**json.loads(new_byte_bpe().to_str()), **change}))
    with pytest.raises(ValueError, match=f"plain byte-level BPE.*{words}"):
        ByteBpe(other, characters=128)


def test_merges_out_of_order_are_refused() -> None:
    tokenizer = new_byte_bpe()
    tokenizer.model = hf.models.BPE({"a": 0, "b": 1, "ab": 2, "abb": 3}, [("ab", "b"), ("a", "b")])
    with pytest.raises(ValueError, match="result of a later merge"):
        ByteBpe(tokenizer, characters=128)
