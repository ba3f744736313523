"""Committed actions: a chunk that begins with what the robot will have executed, decoded after it."""

import numpy as np
import pytest

from inspire_fast.core.policy import RequestOptions
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.policy.testing import tiny_policy
from inspire_fast.robots import ROBOTS
from inspire_fast.tokenizers.bins import UniformBins

NATIVE = ROBOTS["libero"].fake_native()
BINS = UniformBins(bins=64, reach=(-1.5, 1.5))


@pytest.fixture(scope="module")
def policy() -> InspirePolicy:
    return tiny_policy(action=BINS)


def actions_of(policy: InspirePolicy, committed: np.ndarray | None = None) -> np.ndarray:
    options = RequestOptions(committed=None if committed is None else committed.tolist())
    actions = policy.infer(NATIVE, options).actions
    assert actions is not None
    return actions


def test_what_the_policy_would_have_done_itself_changes_nothing(policy: InspirePolicy) -> None:
    free = actions_of(policy)
    for count in (1, 4, 9):
        np.testing.assert_array_equal(actions_of(policy, free[:count]), free)


def test_a_chunk_begins_with_committed_actions_and_its_rest_follows_from_them(policy: InspirePolicy) -> None:
    free, rng = actions_of(policy), np.random.default_rng(0)
    rests = []
    for _ in range(4):
        committed = rng.uniform(-1, 1, (5, 7)).astype(np.float32)
        committed[0, :2] = 1.4, -1.4  # beyond the bins: their ends
        chunk = actions_of(policy, committed)
        np.testing.assert_allclose(chunk[:5], np.clip(committed, -1, 1), atol=BINS.width / 2 + 1e-6)
        again = actions_of(policy, chunk[:5])  # the rest depends on the ids alone
        np.testing.assert_array_equal(again, chunk)
        rests.append(chunk[5:])
    assert any((rest != free[5:]).any() for rest in rests)


def test_rows_of_one_call_do_not_share_their_beginnings(policy: InspirePolicy) -> None:
    rng = np.random.default_rng(1)
    given = [None, rng.uniform(-1, 1, (2, 7)), rng.uniform(-1, 1, (6, 7))]
    options = [RequestOptions(committed=None if rows is None else rows.tolist()) for rows in given]
    together = policy.infer_batch([NATIVE] * 3, options)
    for rows, chunk in zip(given, together, strict=True):
        np.testing.assert_array_equal(chunk.actions, actions_of(policy, rows))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.zeros((10, 7)), "10 committed actions leave nothing of a chunk of 10"),
        (np.zeros((2, 6)), "6"),
    ],
)
def test_committed_actions_that_cannot_be_are_refused(policy: InspirePolicy, rows: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        actions_of(policy, rows)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "committed must be numbers"),
        ([[]], "committed must be numbers"),
        ([[1.0], [1.0, 2.0]], r"2 actions of \[1, 2\] dimensions"),
        ([[float("nan")]], r"committed\[0\]\[0\] must be a number, finite; got nan"),
    ],
)
def test_numbers_that_are_no_actions_are_refused(rows: list[list[float]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RequestOptions(committed=rows)


def test_a_policy_says_whether_it_can(policy: InspirePolicy) -> None:
    fast = tiny_policy()
    assert (policy.metadata["takes_committed"], fast.metadata["takes_committed"]) == (True, False)
    with pytest.raises(ValueError, match=r"not written step by step\. Train with --tokenizers\.action bins"):
        fast.infer(NATIVE, RequestOptions(committed=[[0.0] * 7]))
