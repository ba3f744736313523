from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy.fft import dct

from inspire_fast.dialogue.testing import random_chunks
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer, dct_matrix, quantise

HORIZON, DIMS = 8, 3


@pytest.fixture(scope="module")
def fast() -> FastTokenizer:
    # A range beyond 128 makes characters of two bytes, so that ids may hold parts of characters.
    return FastTokenizer.fit(random_chunks(300, HORIZON, DIMS), vocab_size=300, coefficient_range=(-150, 150))


def test_dct_is_scipys() -> None:
    x = np.random.default_rng(0).normal(size=(10, 7))
    np.testing.assert_allclose(dct_matrix(10) @ x, dct(x, axis=0, norm="ortho"), atol=1e-12)


@given(seed=st.integers(0, 10_000))
def test_round_trip_error_is_bounded(fast: FastTokenizer, seed: int) -> None:
    chunk = np.random.default_rng(seed).uniform(-1, 1, (HORIZON, DIMS))
    decoded = fast.decode(fast.encode(chunk), HORIZON, DIMS)
    # Each coefficient is off by at most half a step; the transform is orthonormal.
    assert np.linalg.norm(decoded - chunk, axis=0).max() <= 0.5 / fast.scale * HORIZON**0.5 + 1e-6
    np.testing.assert_array_equal(quantise(decoded, fast.scale), quantise(chunk, fast.scale))


@given(seed=st.integers(0, 10_000))
def test_encodings_obey_the_grammar(fast: FastTokenizer, seed: int) -> None:
    chunk = np.random.default_rng(seed).uniform(-1, 1, (HORIZON, DIMS))
    assert fast.grammar(HORIZON, DIMS).accepts(fast.encode(chunk))


@settings(max_examples=200)
@given(seed=st.integers(0, 100_000))
def test_whatever_the_grammar_allows_decodes(fast: FastTokenizer, seed: int) -> None:
    rng, grammar = np.random.default_rng(seed), fast.grammar(HORIZON, DIMS)
    state, owed, ids = grammar.start, grammar.owed, []
    while not grammar.done(state, owed):
        ids.append(int(rng.choice(np.flatnonzero(grammar.allowed(state, owed)))))
        state, owed = grammar.advance(state, owed, ids[-1])
    coefficients = quantise(fast.decode(ids, HORIZON, DIMS), fast.scale)
    assert coefficients.shape == (HORIZON, DIMS)
    assert coefficients.min() >= fast.min_token
    assert coefficients.max() <= fast.max_token


def test_some_ids_hold_parts_of_characters(fast: FastTokenizer) -> None:
    assert len(fast.grammar(HORIZON, DIMS).accepting) > 1  # else the byte automaton is not exercised here


def test_a_wrong_number_of_coefficients_raises_instead_of_zeros(fast: FastTokenizer) -> None:
    ids = fast.encode(np.zeros((HORIZON, DIMS)))
    with pytest.raises(ValueError, match="needs 24"):
        fast.decode(ids[:-1], HORIZON, DIMS)


def test_half_a_character_raises(fast: FastTokenizer) -> None:
    lead = next(i for i, b in enumerate(fast._bpe.token_bytes) if b == b"\xc3")
    with pytest.raises(ValueError, match="whole characters"):
        fast.decode([lead], HORIZON, DIMS)


def test_out_of_range_and_nan_raise(fast: FastTokenizer) -> None:
    with pytest.raises(ValueError, match=r"outside the fitted range -150 \.\. 150"):
        fast.encode(np.full((HORIZON, DIMS), 100.0))
    with pytest.raises(ValueError, match="NaN"):
        fast.encode(np.full((HORIZON, DIMS), np.nan))


def test_files_keep_every_id(fast: FastTokenizer, tmp_path: Path) -> None:
    fast.save(tmp_path)
    again = FastTokenizer.load(tmp_path)
    assert again.fingerprint == fast.fingerprint
    chunk = random_chunks(1, HORIZON, DIMS, seed=9)[0]
    assert again.encode(chunk) == fast.encode(chunk)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"FastTokenizer\.fit"):
        FastTokenizer.load(tmp_path)
