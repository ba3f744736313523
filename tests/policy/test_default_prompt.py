"""A default prompt stands in where there is none, and nowhere else."""

import pytest

from inspire_fast.core.policy import BatchPolicy, Policy, RequestOptions
from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.policy.default_prompt import with_default_prompt

HELD = ActionChunk(actions=None, status=Status.HELD, reason="a test")


class Single:
    def __init__(self):
        self.metadata = {"robot": "libero"}
        self.seen = []

    def infer(self, observation, options):
        self.seen.append(observation)
        return HELD


class Several(Single):
    def prepare(self, observation, options):
        return observation

    def infer_prepared(self, prepared):
        self.seen += prepared
        return [HELD] * len(prepared)


@pytest.mark.parametrize("kind", [Single, Several])
def test_a_missing_prompt_is_filled_in(kind):
    inner = kind()
    policy = with_default_prompt(inner, "open the drawer")
    assert isinstance(policy, Policy)
    assert isinstance(policy, BatchPolicy) == (kind is Several)
    assert policy.metadata == {"robot": "libero", "default_prompt": "open the drawer"}
    bare = {"x": 1}
    policy.infer(bare, RequestOptions())
    policy.infer({"prompt": "close it"}, RequestOptions())
    assert inner.seen == [{"x": 1, "prompt": "open the drawer"}, {"prompt": "close it"}]
    assert bare == {"x": 1}


def test_several_are_answered_in_one_call():
    inner = Several()
    policy = with_default_prompt(inner, "open the drawer")
    assert isinstance(policy, BatchPolicy)
    prepared = [policy.prepare(observation, RequestOptions()) for observation in ({}, {"prompt": "close it"})]
    assert len(policy.infer_prepared(prepared)) == 2
    assert inner.seen == [{"prompt": "open the drawer"}, {"prompt": "close it"}]


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="default prompt is blank"):
        with_default_prompt(Single(), "")
