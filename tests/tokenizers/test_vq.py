import numpy as np
import pytest

from inspire_fast.dialogue.testing import random_chunks
from inspire_fast.tokenizers.action import round_trip
from inspire_fast.tokenizers.kmeans import nearest, refine, spread_out
from inspire_fast.tokenizers.vq import ResidualVq

CHUNKS = random_chunks(300, 4, 2)


def test_codes_of_one_chunk_by_hand() -> None:
    books = np.array([[[0.0, 0.0], [1.0, -1.0]], [[0.0, 0.0], [0.25, 0.25]]])
    tokenizer = ResidualVq(books, horizon=2, action_dim=1, low=-2, high=2, tolerance=0.2)
    # nearest of book 0 is code 1, what is left is [0.2, 0.2], nearest of book 1 is code 1, which has id 2 + 1
    assert tokenizer.encode(np.array([[1.2], [-0.8]])) == [1, 3]
    np.testing.assert_allclose(tokenizer.decode([1, 3], 2, 1), [[1.25], [-0.75]])
    with pytest.raises(ValueError, match=r"VQ id 1 is none of code book 1, which is next and has ids 2 \.\. 3"):
        tokenizer.decode([1, 1], 2, 1)


def test_ids_stand_where_their_book_does() -> None:
    tokenizer = ResidualVq.fit(CHUNKS, vocab_size=12, stages=3, block=2)
    ids = np.array(tokenizer.encode_batch(CHUNKS)).reshape(-1, 2, 3)  # two blocks of three books
    np.testing.assert_array_equal(ids // 4, np.broadcast_to([0, 1, 2], ids.shape))
    assert tokenizer.grammar(4, 2).longest() == 6


def test_a_further_book_never_makes_a_chunk_worse() -> None:
    tokenizer = ResidualVq.fit(CHUNKS, vocab_size=64, stages=4)
    codes = np.array(tokenizer.encode_batch(CHUNKS)) - np.arange(4) * 16
    vectors, left = CHUNKS.reshape(len(CHUNKS), -1), []
    for stage in range(1, 5):
        sums = sum((tokenizer.books[s][codes[:, s]] for s in range(stage)), np.zeros_like(vectors))
        left.append(np.square(vectors - sums).sum(axis=1))
    assert (np.diff(left, axis=0) <= 1e-6).all()
    assert left[3].mean() < 0.3 * left[0].mean()


def test_more_ids_make_smaller_errors() -> None:
    few, many = (round_trip(ResidualVq.fit(CHUNKS, vocab_size=n), CHUNKS).mean_error for n in (16, 256))
    assert many < 0.5 * few


def test_decoded_values_stay_in_the_range_of_the_data() -> None:
    tokenizer = ResidualVq.fit(CHUNKS, vocab_size=64)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 16, (200, 4)) + np.arange(4) * 16
    decoded = tokenizer.decode_batch(ids.tolist(), 4, 2)
    assert decoded.min() >= np.float32(CHUNKS.min())
    assert decoded.max() <= np.float32(CHUNKS.max())


def test_writing_what_was_read_stays_within_the_tolerance() -> None:
    tokenizer = ResidualVq.fit(CHUNKS, vocab_size=128)
    once = tokenizer.decode_batch(tokenizer.encode_batch(CHUNKS), 4, 2)
    twice = tokenizer.decode_batch(tokenizer.encode_batch(once), 4, 2)
    assert np.abs(twice - once).max() <= tokenizer.tolerance


def test_a_chunk_unlike_any_is_refused_in_numbers() -> None:
    tokenizer = ResidualVq.fit(CHUNKS, vocab_size=64)
    with pytest.raises(
        ValueError, match=r"error would be .*, the tolerance is .* \(its values span -3 \.\. 3; the fitted ones spanned"
    ):
        tokenizer.encode(np.array([[3.0, -3.0]] * 4))


def test_parameters_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="equal shares"):
        ResidualVq.fit(CHUNKS, vocab_size=65)
    with pytest.raises(ValueError, match="blocks of 3 steps in a horizon of 4"):
        ResidualVq.fit(CHUNKS, vocab_size=64, block=3)
    with pytest.raises(ValueError, match=r"cannot find 512 codes per book in 300 vectors.*action_vocab_size"):
        ResidualVq.fit(CHUNKS, vocab_size=2048)


def test_k_means_finds_separated_groups() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = np.concatenate([c + rng.normal(scale=0.1, size=(50, 2)) for c in centres])
    codes = spread_out(vectors, 3, rng)
    for _ in range(5):
        codes = refine(vectors, codes)
    found = codes[np.argsort(codes @ [1.0, 2.0])]
    np.testing.assert_allclose(found, centres, atol=0.1)
    np.testing.assert_array_equal(nearest(centres, found), [0, 1, 2])


def test_a_code_without_vectors_moves_and_fixed_ones_stay() -> None:
    vectors = np.array([[0.0], [0.1], [5.0]])
    moved = refine(vectors, np.array([[0.0], [0.05], [100.0]]), fixed=1)
    np.testing.assert_allclose(moved, [[0.0], [2.55], [5.0]])
