r"""Segments of scripts: dialogues as data, of which some are blanks.

Context("Task: {instruction}, State: {state};\n")            seen, bidirectional, no loss
ForEachTarget(
    Forced("Question: {question} Answer:"),                  causal, no loss
    Slot(Direction(...)),                                    causal, loss; the model chooses an allowed answer
    Forced(";\n"))
Ask(Forced(...), Slot(Trace(...)), Forced(";\n"))            the same, once, about the scene
Forced("Action: ", weight=1)                                 causal, loss
ActionSlot(end="|")                                          causal, loss; then EOS
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inspire_fast.dialogue.questions.base import Question, about_scene


@dataclass(frozen=True, kw_only=True)
class Context:
    """Text that the model sees as a whole (bidirectional), without loss. `{instruction}` and `{state}` are filled in.

    Inside `ForEachTarget`, `{object}` is the target without its article. After causal text it is a block of its own.
    With `joins`, the causal token before it belongs to the block and sees the whole text too, as with openpi's flags
    (the released InSpire code, questions first).

    Attributes:
        text, joins: see above.
        lower: the instruction in lower case, as openpi writes it. Without, only spaces are made of its `_` and ends of
            lines, as LeRobot does.
        state_dim: dimensions to which zeros fill the state up, as LeRobot does.
    """

    text: str
    joins: bool = False
    lower: bool = True
    state_dim: int = 0


@dataclass(frozen=True, kw_only=True)
class Forced:
    """Causal text that is given, not chosen by the model; the ids of `bos` and `eos` come before and after it.

    Before a slot, `{question}` is filled in; inside `ForEachTarget` also `{object}`, see `Context`.
    """

    text: str
    weight: float = 0.0
    eos: bool = False
    bos: bool = False


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Blank for the answer to a question; its form says how it is written, a word with a space before it."""

    question: Question
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ForEachTarget:
    """Segments repeated for each target, in the instruction's order."""

    segments: tuple[Context | Forced | Slot, ...]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Segments said once, with questions about the scene."""

    segments: tuple[Forced | Slot, ...]


@dataclass(frozen=True, kw_only=True)
class ActionSlot:
    """Blank for one action chunk, followed by `end` and, unless `eos` is off, EOS.

    The released InSpire-FAST checkpoints were trained with `eos=False`.
    """

    end: str = "|"
    eos: bool = True
    weight: float = 1.0


Segment = Context | Forced | ForEachTarget | Ask | ActionSlot


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
        if scene := [q.name for q in self._asked_in(ForEachTarget) if about_scene(q)]:
            raise ValueError(f"Script {self.name!r}: {scene} are about the scene; `Ask` says them, once.")
        if several := [q.name for q in self._asked_in(Ask) if not about_scene(q)]:
            raise ValueError(f"Script {self.name!r}: {several} are about a target; `ForEachTarget` says them.")

    @property
    def acts(self) -> bool:
        """True if the script ends in actions. One that does not can be trained and can answer, but cannot act."""
        return isinstance(self.segments[-1], ActionSlot)

    @property
    def questions(self) -> tuple[Question, ...]:
        """Every question: those about each target, then those about the scene."""
        return (*self._asked_in(ForEachTarget), *self._asked_in(Ask))

    @property
    def scene_questions(self) -> tuple[Question, ...]:
        """Questions about the scene."""
        return self._asked_in(Ask)

    @property
    def asks_about_targets(self) -> bool:
        """Whether some question is about targets."""
        return bool(self._asked_in(ForEachTarget))

    @property
    def reads_state(self) -> bool:
        """Whether the robot's state is part of the text."""
        return any(isinstance(s, Context) and "{state}" in s.text for s in self.segments)

    def _asked_in(self, kind: type[ForEachTarget] | type[Ask]) -> tuple[Question, ...]:
        groups = [s for s in self.segments if isinstance(s, kind)]
        return tuple(slot.question for group in groups for slot in group.segments if isinstance(slot, Slot))

    def slots(self, targets: tuple[str, ...]) -> tuple[tuple[Question, str], ...]:
        """(question, target) of every question of a whole dialogue, in order; "" where it is about the scene."""
        found: list[tuple[Question, str]] = []
        for group in self.segments:
            if isinstance(group, ForEachTarget | Ask):
                about = self.asked(targets) if isinstance(group, ForEachTarget) else ("",)
                found += [(s.question, target) for target in about for s in group.segments if isinstance(s, Slot)]
        return tuple(found)

    def asked(self, targets: tuple[str, ...]) -> tuple[str, ...]:
        """Targets that the script asks about."""
        return targets[: self.max_targets] if self.asks_about_targets else ()

    def unsupervised(self) -> Script:
        """The same dialogue without loss on the answers."""
        segments = tuple(_silent(s) if isinstance(s, ForEachTarget | Ask) else s for s in self.segments)
        return replace(self, segments=segments, supervise_matches=False)


def _silent(group: ForEachTarget | Ask) -> ForEachTarget | Ask:
    return replace(
        group, segments=tuple(s if isinstance(s, Context) else replace(s, weight=0.0) for s in group.segments)
    )


TASK = Context(text="Task: {instruction}, State: {state};\n")
ACTION = Forced(text="Action: ", weight=1.0)


def ask(questions: tuple[Question, ...]) -> tuple[ForEachTarget | Ask, ...]:
    """The questions about each target in a loop, then those about the scene.

    Raises:
        ValueError: there are none.
    """
    if not questions:
        raise ValueError("A script that asks needs at least one question; `pi0_fast` asks none.")
    before, after = Forced(text="Question: {question} Answer:"), Forced(text=";\n")

    def said(*, scene: bool) -> tuple[Forced | Slot, ...]:
        wanted = (q for q in questions if about_scene(q) is scene)
        return tuple(s for q in wanted for s in (before, Slot(question=q), after))

    groups = (ForEachTarget(segments=said(scene=False)), Ask(segments=said(scene=True)))
    return tuple(group for group in groups if group.segments)
