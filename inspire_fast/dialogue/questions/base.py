"""What a question is."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from inspire_fast.core.types import TargetFacts


@runtime_checkable
class Question(Protocol):
    """A question about one target of the instruction."""

    @property
    def name(self) -> str:
        """Registry name."""
        ...

    @property
    def answers(self) -> tuple[str, ...]:
        """Every allowed answer, without the leading space that the script writes before it."""
        ...

    def wording(self, target: str) -> str:
        """The question about `target`, the phrase as the instruction words it, article included."""
        ...

    def truth(self, facts: TargetFacts) -> str:
        """The right answer; always one of `answers`."""
        ...

    def score(self, answer: str, facts: TargetFacts) -> float:
        """0 (wrong) .. 1 (right)."""
        ...

    def parameters(self) -> dict[str, Any]:
        """What `QUESTIONS[name]` is called with to make this question again (JSON-able)."""
        ...
