"""Interface of questions, and the checks that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
import inspect
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from inspire_fast.core.console import command_line
from inspire_fast.core.errors import UnknownFactError, UnknownNameError
from inspire_fast.core.registry import unknown_name
from inspire_fast.robots.axes import Axes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@runtime_checkable
class Question(Protocol):
    """A question about one target of the instruction, or about the scene.

    To add one: write its file, with an example at the top, and one line in `registry.py`. Some attributes are optional:
    `form`, for a question that is not answered by one of a list of texts (`dialogue/forms.py`); `about_scene = True`,
    for one that is asked once per dialogue, whose facts are `SceneFacts` in place of `TargetFacts`; `camera`, for one
    about places in a picture; `needs_labels = False`, for one that the recorded states answer.
    """

    @property
    def name(self) -> str:
        """Registry name."""
        ...

    @property
    def answers(self) -> tuple[str, ...]:
        """All allowed answers, without the leading space that the script adds; empty with a `form` of its own."""
        ...

    def wording(self, target: str) -> str:
        """The question about `target`, a phrase of the instruction with its article; empty if it is about the scene."""
        ...

    def truth(self, facts: Any) -> str:
        """The right answer, an allowed one.

        Raises:
            UnknownFactError: the labels lack what the question is about.
        """
        ...

    def score(self, answer: str, facts: Any) -> float:
        """0 (wrong) .. 1 (right)."""
        ...

    def parameters(self) -> dict[str, Any]:
        """Arguments with which `QUESTIONS[name]` makes this question again (JSON values)."""
        ...


def about_scene(question: Question) -> bool:
    """Whether a question is about the scene, not about one target."""
    return getattr(question, "about_scene", False)


def needs_labels(question: Question) -> bool:
    """Whether a question can be answered from labels only, not from recorded states."""
    return getattr(question, "needs_labels", True)


def require_fact(value: Any, *, of: str, column: str, what: str) -> Any:
    """The value of a column of the labels.

    Raises:
        UnknownFactError: it is None.
    """
    if value is None:
        raise UnknownFactError(
            f"The labels of {of} have no {what} (`{column}`) in this frame: it is hidden or outside of the picture, or "
            "the labels were made without. Label the dataset with a source that knows it "
            f"(`{command_line('label_dataset')} --help`), or ask only what is known (`--data.unlabelled ask_known`)."
        )
    return value


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


def parameters_of(question: DataclassInstance) -> dict[str, Any]:
    """Fields of a question except its name."""
    return {key: value for key, value in asdict(question).items() if key != "name"}


def make_question(
    kind: Callable[..., Question], *, axes: Axes | Mapping[str, Any] | None = None, **parameters: Any
) -> Question:
    """Makes a question from its `parameters()`, also after a trip through JSON.

    Args:
        kind: class of the question, a dataclass.
        axes: the robot's words for its axes; dropped if the question has no use for them.
        parameters: further fields of the question.

    Raises:
        KeyError: the question has no such field; suggests the closest.
        ValueError: a value that the question refuses.
    """
    known = [name for name in inspect.signature(kind).parameters if name not in ("axes", "name")]
    for name in parameters:
        if name not in (*known, "name"):
            raise UnknownNameError(unknown_name(f"parameter of {kind.__name__},", name, known))
    given: dict[str, Any] = {
        key: tuple(cast("list[Any]", value)) if isinstance(value, list) else value for key, value in parameters.items()
    }
    if axes is not None and "axes" in inspect.signature(kind).parameters:
        given["axes"] = axes if isinstance(axes, Axes) else Axes(**{k: (v[0], v[1]) for k, v in axes.items()})
    return kind(**given)
