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

from dataclasses import dataclass

from inspire_fast.dialogue.questions.base import Question


@dataclass(frozen=True, kw_only=True)
class Context:
    """Text that is seen as a whole (bidirectional). `{instruction}` and `{state}` are filled in; no loss."""

    text: str


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
    """Segments in the order in which the model reads them."""

    name: str
    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
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
