"""Answer desk: a person sees questions and answers while the robot runs, and overrides an answer by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import threading
from typing import Any

from inspire_fast.core.policy import Policy, RequestOptions
from inspire_fast.core.types import ActionChunk, Answer

KEYS = "1-9 override the marked answer, tab marks the next one, 0 gives the answers back to the policy"


class AnswerDesk:
    """A policy whose answers can be overridden; in place of the policy in the control loop.

    While an answer is overridden, all answers are given with every request (`mode="force"`): the overridden ones, and
    the policy's own last answers for the others. `begin` ends an override.

    Args:
        policy: asked with `options`.
        words: what the keys 1 .. 9 stand for.
        options: of requests without an override.
        on_override: called after every change, e.g. `Operator.replan`.
    """

    def __init__(
        self,
        policy: Policy,
        words: Sequence[str],
        *,
        options: RequestOptions | None = None,
        on_override: Callable[[], object] | None = None,
    ) -> None:
        if not 0 < len(words) <= 9:
            raise ValueError(f"The desk has keys for 1 .. 9 words; got {len(words)}: {list(words)}.")
        self._policy, self._words = policy, tuple(words)
        self._options, self._on_override = options or RequestOptions(), on_override
        self._lock = threading.Lock()
        self._given: tuple[Answer, ...] = ()
        self._overrides: dict[int, str] = {}
        self._marked = 0

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Of the policy."""
        return self._policy.metadata

    def begin(self) -> None:
        """A new episode: nothing asked yet, nothing overridden."""
        with self._lock:
            self._given, self._overrides, self._marked = (), {}, 0

    @property
    def overridden(self) -> bool:
        """A person's answer is in force."""
        return bool(self._overrides)

    def infer(self, observation: Mapping[str, Any]) -> ActionChunk:
        """Asks the policy, with the person's answers if there are any."""
        with self._lock:
            options = self._forced()
        chunk = self._policy.infer(observation, options)
        if chunk.answers:
            with self._lock:
                self._given = chunk.answers
                self._marked = min(self._marked, len(chunk.answers) - 1)
        return chunk

    def press(self, key: str) -> bool:
        """Takes a key; whether it means something here."""
        with self._lock:
            if key == "\t":
                self._marked = (self._marked + 1) % max(1, len(self._given))
                return True
            if key == "0":
                self._overrides = {}
            elif "1" <= key <= "9" and int(key) <= len(self._words) and self._given:
                self._overrides[self._marked] = self._words[int(key) - 1]
            else:
                return False
        if self._on_override is not None:
            self._on_override()
        return True

    def text(self) -> str:
        """One line: each question's target and answer; `>` marks the one that keys change, `*` an override."""
        with self._lock:
            parts = [
                f"{'>' if place == self._marked else ' '}{answer.target}: "
                + (
                    f"{self._overrides[place]}*"
                    if place in self._overrides
                    else f"{answer.answer} {answer.probability:.2f}"
                )
                for place, answer in enumerate(self._given)
            ]
        return "  ".join(parts) or "no questions"

    def _forced(self) -> RequestOptions:
        if not self._overrides:
            return self._options
        answers = [self._overrides.get(place, answer.answer) for place, answer in enumerate(self._given)]
        targets = list(dict.fromkeys(answer.target for answer in self._given))
        return dataclasses.replace(self._options, mode="force", targets=targets, answers=answers)
