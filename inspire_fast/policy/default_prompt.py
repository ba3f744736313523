"""A policy that takes observations without an instruction, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inspire_fast.core.policy import BatchPolicy, Policy, RequestOptions
from inspire_fast.core.types import ActionChunk


def with_default_prompt(policy: Policy, prompt: str) -> Policy:
    """The policy; where an observation has no `prompt`, this one is meant. A `BatchPolicy` stays one.

    Raises:
        ValueError: the prompt is empty.
    """
    if not prompt.strip():
        raise ValueError("The default prompt is blank; give an instruction, or leave it out.")
    return _PromptedBatchPolicy(policy, prompt) if isinstance(policy, BatchPolicy) else _PromptedPolicy(policy, prompt)


def _prompted(observation: Mapping[str, Any], prompt: str) -> Mapping[str, Any]:
    return observation if "prompt" in observation else {**observation, "prompt": prompt}


class _PromptedPolicy:
    """Answers one by one."""

    def __init__(self, policy: Policy, prompt: str) -> None:
        self._policy, self._prompt = policy, prompt

    @property
    def metadata(self) -> Mapping[str, Any]:
        return {**self._policy.metadata, "default_prompt": self._prompt}

    def infer(self, observation: Mapping[str, Any], options: RequestOptions | None = None) -> ActionChunk:
        return self._policy.infer(_prompted(observation, self._prompt), options)


class _PromptedBatchPolicy:
    """Answers several in one call."""

    def __init__(self, policy: BatchPolicy, prompt: str) -> None:
        self._policy, self._prompt = policy, prompt
        self._single = _PromptedPolicy(policy, prompt)

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self._single.metadata

    def infer(self, observation: Mapping[str, Any], options: RequestOptions | None = None) -> ActionChunk:
        return self._single.infer(observation, options)

    def prepare(self, observation: Mapping[str, Any], options: RequestOptions) -> Any:
        return self._policy.prepare(_prompted(observation, self._prompt), options)

    def infer_prepared(self, prepared: Sequence[Any]) -> list[ActionChunk]:
        return self._policy.infer_prepared(prepared)
