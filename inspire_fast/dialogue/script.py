r"""Scripts: dialogues as data, sequences of segments of which some are blanks.

Context("Task: {instruction}, State: {state};\n")            seen, bidirectional, no loss
ForEachTarget(
    Forced("Question: {question} Answer:"),                  causal, no loss
    Slot(Direction(...)),                                    causal, loss; the model chooses an allowed answer
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
    """Text that the model sees as a whole (bidirectional), without loss. `{instruction}` and `{state}` are filled in.

    After causal text it is a block of its own. With `joins`, the causal token before it belongs to the block and sees
    the whole text too, as with openpi's flags (the released InSpire code, questions first).
    """

    text: str
    joins: bool = False


@dataclass(frozen=True, kw_only=True)
class Forced:
    """Causal text that is given, not chosen by the model. Inside `ForEachTarget`, `{question}` is filled in."""

    text: str
    weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Blank for the answer to a question about the current target. The renderer writes a space before the answer."""

    question: Question
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ForEachTarget:
    """Segments repeated for each target, in the instruction's order."""

    segments: tuple[Forced | Slot, ...]


@dataclass(frozen=True, kw_only=True)
class ActionSlot:
    """Blank for one action chunk, followed by `end` and, unless `eos` is off, EOS.

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
        segments: segments; see the module.
        max_targets: largest number of targets to ask about, the first ones; None asks about all.
        grounding: name of the grounding that finds targets in an instruction.
        supervise_matches: loss on ids of the questions that are also ids of answers (the released InSpire code).
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
        """True if the script ends in actions. One that does not can be trained and can answer, but cannot act."""
        return isinstance(self.segments[-1], ActionSlot)

    @property
    def questions(self) -> tuple[Question, ...]:
        """Questions about each target."""
        loops = [s for s in self.segments if isinstance(s, ForEachTarget)]
        return tuple(slot.question for loop in loops for slot in loop.segments if isinstance(slot, Slot))

    def asked(self, targets: tuple[str, ...]) -> tuple[str, ...]:
        """Targets that the script asks about."""
        return targets[: self.max_targets] if self.questions else ()

    def unsupervised(self) -> Script:
        """The same dialogue without loss on the answers."""
        segments = tuple(
            replace(s, segments=tuple(replace(x, weight=0.0) for x in s.segments))
            if isinstance(s, ForEachTarget)
            else s
            for s in self.segments
        )
        return replace(self, segments=segments, supervise_matches=False)


TASK = Context(text="Task: {instruction}, State: {state};\n")
ACTION = Forced(text="Action: ", weight=1.0)


def pi0_fast(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """openpi's prompt. It ignores questions, so that runs can be compared; `released` leaves EOS out."""
    del questions, max_targets
    return Script(name="pi0_fast", segments=(TASK, ACTION, ActionSlot(eos=not released)))


def inspire(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """Questions after the task: "Task ...; Question ...; Action: ...", as in the published training runs.

    Args:
        questions: questions about each target, in this order.
        max_targets: see `Script`.
        released: text of the released InSpire-FAST checkpoints: targets in the order of the release's list of phrases,
            with its rewrites, no EOS, and loss on direction words inside the questions.
    """
    return _asking("inspire", (TASK, _ask(questions)), max_targets, released=released)


def inspire_first(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """Questions before the task: "Question ...; Task ...; Action: ...", as in the paper's figure. See `inspire`."""
    segments = (_ask(questions), replace(TASK, joins=released))
    return _asking("inspire_first", segments, max_targets, released=released)


def _asking(name: str, segments: tuple[Segment, ...], max_targets: int | None, *, released: bool) -> Script:
    return Script(
        name=name,
        segments=(*segments, ACTION, ActionSlot(eos=not released)),
        max_targets=max_targets,
        grounding="released" if released else "instruction",
        supervise_matches=released,
    )


def _ask(questions: tuple[Question, ...]) -> ForEachTarget:
    if not questions:
        raise ValueError("A script that asks needs at least one question; `pi0_fast` asks none.")
    before, after = Forced(text="Question: {question} Answer:"), Forced(text=";\n")
    return ForEachTarget(segments=tuple(s for q in questions for s in (before, Slot(question=q), after)))


SCRIPTS: Registry[Callable[..., Script]] = Registry(
    "script", {"pi0_fast": pi0_fast, "inspire": inspire, "inspire_first": inspire_first}
)
