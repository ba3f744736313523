"""Properties of every action tokenizer of the registry."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.dialogue.testing import random_chunks
from inspire_fast.tokenizers.action import ActionTokenizer, blocks, round_trip
from inspire_fast.tokenizers.bins import UniformBins
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from inspire_fast.tokenizers.registry import ACTION_TOKENIZERS, fit_action_tokenizer, load_action_tokenizer
from inspire_fast.tokenizers.vq import ResidualVq

HORIZON, DIMS = 6, 3
TRAIN, HELD_OUT = random_chunks(400, HORIZON, DIMS), random_chunks(100, HORIZON, DIMS, seed=1) * 1.1
every_kind = pytest.mark.parametrize("name", list(ACTION_TOKENIZERS))


@lru_cache(maxsize=8)
def fitted(name: str) -> ActionTokenizer:
    return fit_action_tokenizer(name, TRAIN, vocab_size=256, cover=HELD_OUT)


def fast_bound(tokenizer: FastTokenizer) -> float:
    # Each coefficient is off by at most half a step; the inverse transform is orthonormal.
    return 0.5 / tokenizer.scale * HORIZON**0.5


def bins_bound(tokenizer: UniformBins) -> float:
    # Half a bin inside of the bins' interval; outside, the way back to it as well.
    beyond = max(tokenizer.low - tokenizer.reach[0], tokenizer.reach[1] - tokenizer.high)
    return tokenizer.width / 2 + beyond


def vq_bound(tokenizer: ResidualVq) -> float:
    return tokenizer.tolerance


BOUNDS: dict[str, Callable] = {"fast": fast_bound, "bins": bins_bound, "vq": vq_bound}


def walk(tokenizer: ActionTokenizer, rng: np.random.Generator) -> list[int]:
    """Ids as a model that knows nothing would write them under the grammar."""
    grammar = tokenizer.grammar(HORIZON, DIMS)
    state, owed, ids = grammar.start, grammar.owed, []
    while not grammar.done(state, owed):
        ids.append(int(rng.choice(np.flatnonzero(grammar.allowed(state, owed)))))
        state, owed = grammar.advance(state, owed, ids[-1])
    return ids


@every_kind
def test_every_kind_is_an_action_tokenizer(name: str) -> None:
    assert isinstance(fitted(name), ActionTokenizer)
    assert fitted(name).vocab_size <= 256


@every_kind
@given(seed=st.integers(0, 10_000))
def test_the_error_of_what_is_encoded_is_bounded(name: str, seed: int) -> None:
    tokenizer, rng = fitted(name), np.random.default_rng(seed)
    chunk = TRAIN[rng.integers(len(TRAIN))] + rng.normal(scale=rng.choice([0, 0.01, 0.1]), size=(HORIZON, DIMS))
    try:
        ids = tokenizer.encode(chunk)
    except ValueError as error:
        assert "range" in str(error) or "takes" in str(error) or "cannot write" in str(error)  # noqa: PT017
        return
    decoded = tokenizer.decode(ids, HORIZON, DIMS)
    assert decoded.dtype == np.float32
    assert decoded.shape == (HORIZON, DIMS)
    assert np.abs(decoded - chunk).max() <= BOUNDS[name](tokenizer) + 1e-6


@every_kind
@pytest.mark.parametrize("width", [0.0, 0.02, 0.05, 0.1, 0.2, 0.5])
def test_narrow_chunks_are_written_and_read_back(name: str, width: float) -> None:
    """FAST's coefficients then span a few integers, one at least."""
    chunks = np.random.default_rng(0).uniform(-width, width, (100, HORIZON, DIMS))
    tokenizer = fit_action_tokenizer(name, chunks, vocab_size=256)
    assert round_trip(tokenizer, chunks).max_error <= BOUNDS[name](tokenizer) + 1e-6
    assert all(map(tokenizer.grammar(HORIZON, DIMS).accepts, tokenizer.encode_batch(chunks[:10])))


@every_kind
def test_a_tokenizer_that_loses_chunks_is_no_result_of_a_fit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ACTION_TOKENIZERS[name], "encode_batch", lambda _, chunks: [[]] * len(chunks))
    with pytest.raises(ValueError, match=r"a chunk of 6 x 3 needs"):
        fit_action_tokenizer(name, TRAIN, vocab_size=256)


@every_kind
def test_everything_covered_is_encoded_and_obeys_the_grammar(name: str) -> None:
    tokenizer = fitted(name)
    grammar = tokenizer.grammar(HORIZON, DIMS)
    for chunk in np.concatenate([TRAIN[:30], HELD_OUT[:30]]):
        ids = tokenizer.encode(chunk)
        assert grammar.accepts(ids)
        assert len(ids) <= grammar.longest()
        assert not grammar.accepts(ids[:-1])


@every_kind
@given(seed=st.integers(0, 10_000))
def test_whatever_the_grammar_allows_decodes(name: str, seed: int) -> None:
    tokenizer = fitted(name)
    decoded = tokenizer.decode(walk(tokenizer, np.random.default_rng(seed)), HORIZON, DIMS)
    assert decoded.shape == (HORIZON, DIMS)
    assert np.isfinite(decoded).all()


@every_kind
def test_batches_are_the_single_ones(name: str) -> None:
    tokenizer = fitted(name)
    ids = tokenizer.encode_batch(HELD_OUT)
    assert ids == [tokenizer.encode(chunk) for chunk in HELD_OUT]
    assert all(isinstance(i, int) for i in ids[0])
    single = [tokenizer.decode(row, HORIZON, DIMS) for row in ids]
    np.testing.assert_allclose(tokenizer.decode_batch(ids, HORIZON, DIMS), single, atol=1e-6)


@every_kind
def test_files_keep_every_id(name: str, tmp_path: Path) -> None:
    fitted(name).save(tmp_path)
    again = load_action_tokenizer(name, tmp_path)
    assert again.fingerprint == fitted(name).fingerprint
    assert again.encode_batch(HELD_OUT) == fitted(name).encode_batch(HELD_OUT)


@every_kind
def test_the_same_data_give_the_same_tokenizer(name: str) -> None:
    assert fit_action_tokenizer(name, TRAIN, vocab_size=256, cover=HELD_OUT).fingerprint == fitted(name).fingerprint
    assert fit_action_tokenizer(name, TRAIN * 0.9, vocab_size=128).fingerprint != fitted(name).fingerprint


@every_kind
def test_nothing_is_changed_in_place(name: str) -> None:
    chunk = HELD_OUT[0].copy()
    chunk.flags.writeable = False
    fitted(name).encode(chunk)
    np.testing.assert_array_equal(chunk, HELD_OUT[0])


@every_kind
def test_bad_chunks_raise_one_clear_error(name: str) -> None:
    tokenizer, broken = fitted(name), np.zeros((HORIZON, DIMS))
    broken[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"not finite: nan at \[2, 1\]"):
        tokenizer.encode(broken)
    with pytest.raises(ValueError, match="Check the normalisation statistics, or"):
        tokenizer.encode(np.full((HORIZON, DIMS), 50.0))
    with pytest.raises(ValueError, match=r"encodes action chunks \[t, a\]; got an array of shape \(18,\)"):
        tokenizer.encode(np.zeros(18))
    with pytest.raises(ValueError, match=r"chunk of 6 x 3 needs"):
        tokenizer.decode(tokenizer.encode(TRAIN[0])[:-1], HORIZON, DIMS)
    with pytest.raises(ValueError, match=r"FAST id|ids .* outside|is none of code book"):
        tokenizer.decode([10_000] * len(tokenizer.encode(TRAIN[0])), HORIZON, DIMS)


@pytest.mark.parametrize("name", ["fast", "vq"])
def test_chunks_of_another_shape_are_refused(name: str) -> None:
    for call in (lambda t: t.encode(np.zeros((HORIZON + 1, DIMS))), lambda t: t.grammar(HORIZON + 1, DIMS)):
        with pytest.raises(ValueError, match=r"made for chunks of 6 x 3 .* got 7 x 3"):
            call(fitted(name))


def test_a_report_in_numbers() -> None:
    report = round_trip(UniformBins(bins=2), np.array([[[0.25], [-1.0]]]))
    assert (report.mean_error, report.max_error) == (0.375, 0.5)
    assert (report.mean_ids, report.max_ids) == (2, 2)


@every_kind
def test_a_missing_file_says_how_to_make_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"fit\(\.\.\.\)\.save"):
        load_action_tokenizer(name, tmp_path)


def test_unknown_names_suggest_a_known_one() -> None:
    with pytest.raises(KeyError, match="Did you mean 'bins'"):
        fit_action_tokenizer("bin", TRAIN, vocab_size=8)
    with pytest.raises(KeyError, match=r"action tokenizer 'vq'.*Did you mean 'stages'\? Available: block, .*seed"):
        fit_action_tokenizer("vq", TRAIN, vocab_size=8, parameters={"stage": 2})


@every_kind
def test_chunks_in_blocks_give_the_same_tokenizer_and_report(name: str) -> None:
    """A dataset's chunks need not be one array."""
    train, held_out = [TRAIN[:150], TRAIN[150:]], [HELD_OUT[:10], HELD_OUT[10:]]
    streamed = fit_action_tokenizer(name, train, vocab_size=256, cover=held_out)
    assert streamed.fingerprint == fitted(name).fingerprint
    report, whole = (round_trip(streamed, chunks) for chunks in (held_out, HELD_OUT))
    assert (report.max_ids, report.mean_ids, report.max_error) == (whole.max_ids, whole.mean_ids, whole.max_error)
    assert report.mean_error == pytest.approx(whole.mean_error)


@every_kind
def test_chunks_that_cannot_be_read_again_are_refused(name: str) -> None:
    """An iterator would be used up by the first reading, and the later ones would see no chunks."""
    with pytest.raises(ValueError, match=r"several times; got list_iterator\. Pass a list"):
        fit_action_tokenizer(name, iter([TRAIN]), vocab_size=256)
    for nothing in ([], TRAIN[:0]):
        with pytest.raises(ValueError, match="on no chunks"):
            fit_action_tokenizer(name, nothing, vocab_size=256)
    with pytest.raises(ValueError, match="made for chunks of 6 x 3"):
        fit_action_tokenizer(name, [TRAIN, TRAIN[:, :5]], vocab_size=256)


def test_blocks_are_small_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspire_fast.tokenizers.action.BLOCK", 64)
    parts = [*blocks([TRAIN[:100], TRAIN[100:]], "test")]
    assert [len(part) for part in parts] == [64, 36, 64, 64, 64, 64, 44]
    np.testing.assert_array_equal(np.concatenate(parts), TRAIN)


def test_fast_learns_from_a_sample_and_covers_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond `max_chunks` the BPE's memory stops growing; no chunk becomes inexpressible. Long chunks count as more."""
    outlier = np.concatenate([TRAIN, TRAIN[:1] * 5])
    sampled = FastTokenizer.fit(outlier, vocab_size=256, max_chunks=50)
    assert sampled.fingerprint == FastTokenizer.fit(outlier, vocab_size=256, max_chunks=50).fingerprint
    assert (sampled.min_token, sampled.max_token) == (
        (whole := FastTokenizer.fit(outlier, vocab_size=256)).min_token,
        whole.max_token,
    )
    assert sampled.fingerprint != whole.fingerprint
    monkeypatch.setattr("inspire_fast.tokenizers.fast.tokenizer.LEARNT_FROM", 50 * TRAIN[0].size)
    assert FastTokenizer.fit(outlier, vocab_size=256).fingerprint == sampled.fingerprint
    assert round_trip(sampled, outlier).max_error <= fast_bound(sampled)
