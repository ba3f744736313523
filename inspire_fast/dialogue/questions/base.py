"""Interface of questions, and the checks that they share."""

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
    """A question about one target of the instruction.

    To add one: write its file, with an example at the top, and one line in `registry.py`.
    """

    @property
    def name(self) -> str:
        """Registry name."""
        ...

    @property
    def answers(self) -> tuple[str, ...]:
        """All allowed answers, without the leading space that the script adds."""
        ...

    def wording(self, target: str) -> str:
        """The question about `target`, a phrase of the instruction with its article."""
        ...

    def truth(self, facts: TargetFacts) -> str:
        """The right answer, one of `answers`."""
        ...

    def score(self, answer: str, facts: TargetFacts) -> float:
        """0 (wrong) .. 1 (right)."""
        ...

    def parameters(self) -> dict[str, Any]:
        """Arguments with which `QUESTIONS[name]` makes this question again (JSON values)."""
        ...


def check_words(template: str, answers: tuple[str, ...]) -> None:
    """Checks the words of a question.

    Raises:
        ValueError: the wording has no `{object}`, or two answers are equal.
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
    """Raises ValueError unless the deadband is a length."""
    if not (math.isfinite(deadband_m) and deadband_m >= 0):
        raise ValueError(f"deadband_m must be >= 0 metres; got {deadband_m}.")


def parameters_of(question: DataclassInstance) -> dict[str, Any]:
    """Fields of a question except its name."""
    return {key: value for key, value in asdict(question).items() if key != "name"}


def read_axes(axes: Axes | dict[str, Any]) -> Axes:
    """Axes, made from their fields if they come from JSON."""
    return axes if isinstance(axes, Axes) else Axes(**{k: (v[0], v[1]) for k, v in axes.items()})
