import numpy as np
import pytest

from inspire_fast.tokenizers.bins import UniformBins


def test_ids_of_a_few_values() -> None:
    tokenizer = UniformBins(bins=4)
    # bins  [-1, -0.5) [-0.5, 0) [0, 0.5) [0.5, 1]
    chunk = np.array([[-1.0, -0.51], [-0.5, -0.01], [0.0, 0.49], [0.5, 1.0]])
    assert tokenizer.encode(chunk) == [0, 0, 1, 1, 2, 2, 3, 3]
    centres = [[-0.75, -0.75], [-0.25, -0.25], [0.25, 0.25], [0.75, 0.75]]
    np.testing.assert_array_equal(tokenizer.decode([0, 0, 1, 1, 2, 2, 3, 3], 4, 2), np.array(centres, np.float32))


def test_what_lies_outside_is_cut_only_as_far_as_the_data_reach() -> None:
    chunks = np.array([[[0.0], [1.5]], [[-1.2], [0.3]]])
    tokenizer = UniformBins.fit(chunks, vocab_size=8)
    assert (tokenizer.low, tokenizer.high, tokenizer.reach) == (-1, 1, (-1.2, 1.5))
    assert tokenizer.encode(np.array([[1.5], [-1.2]])) == [7, 0]
    with pytest.raises(
        ValueError, match=r"span 0 \.\. 1\.6; this uniform-bin tokenizer takes -1\.2 \.\. 1\.5 \(bins over -1 \.\. 1\)"
    ):
        tokenizer.encode(np.array([[1.6], [0.0]]))


def test_without_clipping_the_bins_hold_everything() -> None:
    chunks = np.array([[[0.0], [3.0]], [[-1.2], [0.3]]])
    tokenizer = UniformBins.fit(chunks, vocab_size=8, clip=False)
    error = np.abs(tokenizer.decode_batch(tokenizer.encode_batch(chunks), 2, 1) - chunks)
    assert error.max() <= tokenizer.width / 2 + 1e-6
    with pytest.raises(ValueError, match="Check the normalisation statistics"):
        tokenizer.encode(np.array([[3.1], [0.0]]))


def test_by_default_nothing_outside_is_taken() -> None:
    with pytest.raises(ValueError, match=r"takes -1 \.\. 1 "):
        UniformBins(bins=8).encode(np.array([[1.01]]))


def test_the_interval_must_make_sense() -> None:
    with pytest.raises(ValueError, match="bins >= 1"):
        UniformBins(bins=0)
    with pytest.raises(ValueError, match="low < high"):
        UniformBins(bins=4, low=1.0, high=-1.0)
