"""What a question is, and what the questions share."""

from __future__ import annotations

from dataclasses import asdict
import math
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from inspire_fast.core.types import TargetFacts
from inspire_fast.robots.spec import Axes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


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


def check_words(template: str, answers: tuple[str, ...]) -> None:
    """What every question's words must satisfy.

    Raises:
        ValueError: the wording has no place for the object, or two answers are the same.
    """
    if "{object}" not in template:
        raise ValueError(f"The wording must hold '{{object}}'; got {template!r}.")
    try:
        template.format(object="the bowl")
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError(f"The wording {template!r} may hold no braces but '{{object}}': {error!r}.") from error
    if len(set(answers)) != len(answers):
        raise ValueError(f"The answer words are not distinct: {answers}.")


def check_deadband(deadband_m: float) -> None:
    """Raises ValueError unless it is a length."""
    if not (math.isfinite(deadband_m) and deadband_m >= 0):
        raise ValueError(f"deadband_m must be >= 0 metres; got {deadband_m}.")


def parameters_of(question: DataclassInstance) -> dict[str, Any]:
    """A question's fields but for its name."""
    return {key: value for key, value in asdict(question).items() if key != "name"}


def read_axes(axes: Axes | dict[str, Any]) -> Axes:
    """Axes as they are, or from their fields after a trip through JSON."""
    return axes if isinstance(axes, Axes) else Axes(**{k: (v[0], v[1]) for k, v in axes.items()})
