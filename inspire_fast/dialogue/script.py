r"""A script: the dialogue as data, a sequence of segments some of which are blanks.

Context("Task: {instruction}, State: {state};\n")            seen, bidirectional, no loss
ForEachTarget(
    Forced("Question: {question} Answer:"),                  causal, no loss
    Slot(Direction(...)),                                    causal, loss; the model chooses among allowed answers
    Forced(";\n"))
Forced("Action: ", weight=1)                                 causal, loss
ActionSlot(end="|")                                          causal, loss; then EOS
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from inspire_fast.core.registry import Registry
from inspire_fast.dialogue.questions.base import Question


@dataclass(frozen=True, kw_only=True)
class Context:
    """Text that is seen as a whole (bidirectional). `{instruction}` and `{state}` are filled in; no loss.

    Behind causal text it is a block of its own. With `joins`, the causal token before it belongs to the block and sees
    the whole text too, as openpi's flags have it (the released InSpire code, questions first).
    """

    text: str
    joins: bool = False


@dataclass(frozen=True, kw_only=True)
class Forced:
    """Causal text that is given, never chosen; inside `ForEachTarget`, `{question}` is filled in."""

    text: str
    weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A blank for the answer to a question about the current target. A space precedes the answer's words."""

    question: Question
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ForEachTarget:
    """Segments repeated for each target, in the instruction's order."""

    segments: tuple[Forced | Slot, ...]


@dataclass(frozen=True, kw_only=True)
class ActionSlot:
    """A blank for one action chunk, closed by `end` and, unless `eos` is off, EOS.

    The released InSpire-FAST checkpoints were trained with `eos=False`.
    """

    end: str = "|"
    eos: bool = True
    weight: float = 1.0


Segment = Context | Forced | ForEachTarget | ActionSlot


@dataclass(frozen=True, kw_only=True)
class Script:
    """Segments in the order in which the model reads them.

    Attributes:
        name: registry name.
        segments: what is said; see the module.
        max_targets: no more targets are asked about than this, the first ones; None asks about all.
        grounding: how targets are found in an instruction, see `grounding.GROUNDINGS`.
        supervise_matches: ids inside the questions that are also answers carry loss (the released InSpire code).
    """

    name: str
    segments: tuple[Segment, ...]
    max_targets: int | None = None
    grounding: str = "instruction"
    supervise_matches: bool = False

    def __post_init__(self) -> None:
        if self.max_targets is not None and self.max_targets < 1:
            raise ValueError(f"max_targets must be at least 1, or None; got {self.max_targets}.")
        slots = [n for n, s in enumerate(self.segments) if isinstance(s, ActionSlot)]
        if slots and slots != [len(self.segments) - 1]:
            raise ValueError(f"Script {self.name!r}: an action slot can only be the one last segment.")
        if not self.segments:
            raise ValueError(f"Script {self.name!r} has no segments.")

    @property
    def acts(self) -> bool:
        """The script ends in actions (one without trains and answers but does not act)."""
        return isinstance(self.segments[-1], ActionSlot)

    @property
    def questions(self) -> tuple[Question, ...]:
        """The questions asked about each target."""
        loops = [s for s in self.segments if isinstance(s, ForEachTarget)]
        return tuple(slot.question for loop in loops for slot in loop.segments if isinstance(slot, Slot))

    def asked(self, targets: tuple[str, ...]) -> tuple[str, ...]:
        """The targets that are asked about."""
        return targets[: self.max_targets] if self.questions else ()

    def unsupervised(self) -> Script:
        """The same dialogue, whose answers are read but carry no loss."""

        def silent(segment: Forced | Slot) -> Forced | Slot:
            return replace(segment, weight=0.0)

        segments = tuple(
            replace(s, segments=tuple(silent(x) for x in s.segments)) if isinstance(s, ForEachTarget) else s
            for s in self.segments
        )
        return replace(self, segments=segments, supervise_matches=False)


TASK = Context(text="Task: {instruction}, State: {state};\n")
ACTION = (Forced(text="Action: ", weight=1.0), ActionSlot())


def pi0_fast(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """openpi's prompt: no questions, whatever is given, so that runs can be compared. `released` leaves EOS out."""
    del questions, max_targets
    return Script(name="pi0_fast", segments=(TASK, ACTION[0], ActionSlot(eos=not released)))


def inspire(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """Questions after the task: "Task ...; Question ...; Action: ...", as the published runs were trained.

    Args:
        questions: asked one after another about each target.
        max_targets: see `Script`.
        released: the text that the released InSpire-FAST checkpoints were trained on: targets in the order of the
            code's own list of phrases with its rewrites, no EOS, and loss on direction words inside the questions.
    """
    ask = _ask(questions)
    if released:
        return _as_released("inspire", (TASK, ask), max_targets)
    return Script(name="inspire", segments=(TASK, ask, *ACTION), max_targets=max_targets)


def inspire_first(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """Questions before the task: "Question ...; Task ...; Action: ...", as the paper's figure shows. See `inspire`."""
    ask = _ask(questions)
    if released:
        return _as_released("inspire_first", (ask, Context(text=TASK.text, joins=True)), max_targets)
    return Script(name="inspire_first", segments=(ask, TASK, *ACTION), max_targets=max_targets)


def _as_released(name: str, segments: tuple[Context | ForEachTarget, ...], max_targets: int | None) -> Script:
    return Script(
        name=name,
        segments=(*segments, ACTION[0], ActionSlot(eos=False)),
        max_targets=max_targets,
        grounding="released",
        supervise_matches=True,
    )


def _ask(questions: tuple[Question, ...]) -> ForEachTarget:
    if not questions:
        raise ValueError("A script that asks needs at least one question; `pi0_fast` asks none.")
    segments = [
        s
        for q in questions
        for s in (Forced(text="Question: {question} Answer:"), Slot(question=q), Forced(text=";\n"))
    ]
    return ForEachTarget(segments=tuple(segments))


SCRIPTS: Registry[Callable[..., Script]] = Registry(
    "script", {"pi0_fast": pi0_fast, "inspire": inspire, "inspire_first": inspire_first}
)
