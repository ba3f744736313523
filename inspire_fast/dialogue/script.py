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

from dataclasses import dataclass, replace

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
