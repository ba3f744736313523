"""Rows of dialogue as padded arrays, in shape buckets, so that one compiled program serves many requests.

A request is planned once (`plan_row`: unrolled and encoded) and laid out once (`lay_out`: rows stacked and padded).
Rows are right-aligned in their question slots: the last question of every row has the last slot, whose following text
(the script's way from the questions to the actions) is an array of its own, the suffix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
import functools
from itertools import takewhile
from typing import Any

import jax
import numpy as np

from inspire_fast.core.types import TokenSequence
from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.render import Blank, Dialogue, Kind, PromptFields, encode
from inspire_fast.dialogue.script import ActionSlot, Script
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.policy.answer_automata import Answers, JoinedAnswers, joined

Array = Any
"""`np.ndarray` on the host, `jax.Array` in the compiled program."""

PROMPT_BUCKETS = (*range(8, 129, 8), *range(144, 257, 16), *range(288, 513, 32), *range(576, 1025, 64))
CONTINUATION_BUCKETS = (*range(4, 33, 4), *range(40, 65, 8), *range(80, 257, 16), 384, 512)
ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
# Where answers are drafted, text between blanks is read in the prompt, and only read again where a draft fails: few
# shapes are worth more than tight ones.
SPARE_BUCKETS = (32, 64, 128, 256, 512)
QUESTION_BUCKETS = (0, 2, 4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One request's dialogue, encoded once, and the answers that its prompt holds.

    Attributes:
        dialogue: the text as ids, its blanks open.
        blanks: those of the questions, with the text that follows each.
        allowed: per question, in order, the answers that are allowed.
        beginning: ids before the first blank.
        given: answers written into the prompt, one per question; None leaves all of them to the model.
        trusted: given answers count as they are (forced or kept). Otherwise they are a draft, which the model verifies.
    """

    dialogue: Dialogue
    blanks: tuple[Blank, ...]
    allowed: tuple[Answers, ...]
    beginning: int
    given: tuple[str, ...] | None = None
    trusted: bool = False

    def with_answers(self, answers: Sequence[str], *, trusted: bool) -> Row:
        """The row with these answers in its prompt.

        Raises:
            ValueError: they do not fit the questions.
        """
        if len(answers) != len(self.allowed):
            kind = "forced answers" if trusted else "drafted answers"
            about = [blank.piece.target or "the scene" for blank in self.blanks]
            raise ValueError(f"{len(answers)} {kind} for {len(self.allowed)} questions, about {about}.")
        for allowed, answer in zip(self.allowed, answers, strict=True):
            allowed.symbols(answer)
        return replace(self, given=tuple(answers), trusted=trusted) if answers else self

    def extreme_answers(self, end: Callable[..., str]) -> tuple[str, ...]:
        """Allowed answers with the fewest ids (`end` is `min`) or the most (`max`), one per question."""
        return tuple(own.extreme(end) for own in self.allowed)

    @property
    def asked(self) -> tuple[tuple[Question, str], ...]:
        """(question, target) of each question, in order; the target is "" for one about the scene."""
        slots = ((blank.piece.slot, blank.piece.target) for blank in self.blanks)
        return tuple((slot, target) for slot, target in slots if slot and not isinstance(slot, ActionSlot))

    @functools.cached_property
    def symbols(self) -> tuple[list[int], ...]:
        """Of each given answer, see `Answers.symbols`."""
        return tuple(own.symbols(answer) for own, answer in zip(self.allowed, self.given or (), strict=False))

    @functools.cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each answer begins in the prompt, and how many ids the prompt has; equal where no answer is given."""
        starts = [self.beginning]
        for blank, symbols in zip(self.blanks, self.symbols, strict=False):
            starts.append(starts[-1] + len(symbols) + len(blank.continuation))
        return (*starts, *starts[-1:] * (len(self.blanks) - len(self.symbols)))

    @property
    def length(self) -> int:
        """Ids of the prompt."""
        return self.starts[-1]

    def prompt(self) -> TokenSequence:
        """The prompt: all text before the first blank, or before the action where answers are given."""
        return self.dialogue.fill(self.given or ()).tokens


def plan_row(script: Script, fields: PromptFields, vocabulary: Vocabulary, answers: Mapping[str, Answers]) -> Row:
    """Unrolls and encodes one dialogue; `answers` are those of the script's questions, by name."""
    dialogue = encode(script, fields, vocabulary)
    blanks = tuple(blank for blank in dialogue.blanks() if blank.piece.kind is Kind.ANSWER)
    return Row(
        dialogue=dialogue,
        blanks=blanks,
        allowed=tuple(answers[getattr(blank.piece.slot, "name")] for blank in blanks),  # noqa: B009 (a question)
        beginning=1
        + sum(
            len(ids or ()) for ids in takewhile(lambda ids: ids is not None, dialogue.ids)
        ),  # and the beginning-of-sequence id
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Slots:
    """Questions: `q` slots, `b` rows, `f` ids of text between blanks, `d` of an answer."""

    active: Array  # bool [q, b] the row asks this question
    start: Array  # int32 [q, b] where a given answer begins in the prompt; without one, the prompt's end
    drafted: Array  # int32 [q, b, d] symbols of the given answer, -1 after its end
    continuation: Array  # int32 [q, b, f] given text between this answer and the next question's
    continuation_lengths: Array  # int32 [q, b]
    attends_to: Array  # int32 [q, b, f] see `Blank.attends_to`
    begin: Array  # int32 [q, b] state of the joined automaton in which the answers to this question begin


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Layout:
    """`b` rows, `l` ids of prompt, `e` of text after the last answer. NumPy arrays until they enter the program."""

    ids: Array  # int32 [b, l] text before the first blank, or all of it with the given answers
    lengths: Array  # int32 [b]
    block: Array  # int32 [b, l]
    real: Array  # bool [b], False on padding rows
    filled: Array  # bool [b] the prompt holds given answers
    trusted: Array  # bool [b] see `Row`
    suffix: Array  # int32 [b, e] given text after the last answer
    suffix_lengths: Array  # int32 [b]
    suffix_attends_to: Array  # int32 [b, e]
    slots: Slots
    room: int = field(metadata={"static": True})  # ids that the cache must hold between the prompt and the actions


def bucket(size: int, sizes: Sequence[int], what: str) -> int:
    """The smallest of `sizes` that holds `size`.

    Raises:
        ValueError: none does.
    """
    for candidate in sizes:
        if size <= candidate:
            return candidate
    raise ValueError(f"{size} {what} exceed the largest bucket, {sizes[-1]}.")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Shape of a layout: rows, question slots, and ids of the prompt, between blanks, of the suffix, of an answer.

    `room` are ids that the cache must hold between the prompt and the actions.
    """

    rows: int
    slots: int
    prompt: int
    continuation: int
    suffix: int
    depth: int
    room: int

    def holds(self, other: Sizes) -> bool:
        """True if rows of the other shape can be padded to this one."""
        return self.union(other) == self

    def union(self, other: Sizes) -> Sizes:
        """The smallest shape that holds both."""
        return Sizes(**{name: max(size, getattr(other, name)) for name, size in vars(self).items()})


def sizes_of(rows: Sequence[Row], questions: Sequence[Answers]) -> Sizes:
    """The smallest buckets that hold these rows.

    Raises:
        ValueError: no rows, or more rows, questions or ids than the largest bucket holds.
    """
    slots = bucket(max(len(row.blanks) for row in rows), QUESTION_BUCKETS[1:] if questions else (0,), "questions")
    between = max((len(b.continuation) for row in rows for b in row.blanks[:-1]), default=0)
    suffix = max((len(row.blanks[-1].continuation) for row in rows if row.blanks), default=0)  # the same in every call
    free = any(row.blanks and row.given is None for row in rows)
    continuation = bucket(between, CONTINUATION_BUCKETS if free or not slots else SPARE_BUCKETS, "ids between blanks")
    depth = max((own.depth for own in questions), default=1)
    return Sizes(
        rows=bucket(len(rows), ROW_BUCKETS, "rows"),
        slots=slots,
        prompt=bucket(max(row.length for row in rows), PROMPT_BUCKETS, "prompt ids"),
        continuation=continuation,
        suffix=suffix,
        depth=depth,
        # Where all answers are given, the texts between them are in the prompt; they are read again only after a wrong
        # draft, and then in place of what the prompt held.
        room=(slots * depth + ((slots - 1) * continuation + suffix if free else 0)) if slots else 0,
    )


def lay_out(rows: Sequence[Row], questions: Sequence[Answers], size: Sizes) -> Layout:
    """Stacks rows into padded arrays.

    Args:
        rows: one per request.
        questions: the allowed answers of the script's questions.
        size: `sizes_of` the rows, or a shape that holds it.
    """
    asked, per_row = (size.slots, size.rows), (size.rows,)
    slots = Slots(
        active=np.zeros(asked, bool),
        start=np.zeros(asked, np.int32),
        drafted=np.full((*asked, size.depth), -1, np.int32),
        continuation=np.zeros((*asked, size.continuation), np.int32),
        continuation_lengths=np.zeros(asked, np.int32),
        attends_to=np.zeros((*asked, size.continuation), np.int32),
        begin=np.zeros(asked, np.int32),
    )
    layout = Layout(
        ids=np.zeros((size.rows, size.prompt), np.int32),
        lengths=np.ones(per_row, np.int32),
        block=np.zeros((size.rows, size.prompt), np.int32),
        real=np.arange(size.rows) < len(rows),
        filled=np.zeros(per_row, bool),
        trusted=np.zeros(per_row, bool),
        suffix=np.zeros((size.rows, size.suffix), np.int32),
        suffix_lengths=np.zeros(per_row, np.int32),
        suffix_attends_to=np.zeros((size.rows, size.suffix), np.int32),
        slots=slots,
        room=size.room,
    )
    for number, row in enumerate(rows):
        _write_row(layout, number, row, joined(tuple(questions)))
    return layout


def _write_row(layout: Layout, number: int, row: Row, automaton: JoinedAnswers) -> None:
    """Writes one row into the arrays of a new layout."""
    slots, prompt = layout.slots, row.prompt()
    n = len(prompt)
    layout.ids[number, :n], layout.block[number, :n], layout.lengths[number] = prompt.ids, prompt.block, n
    layout.filled[number], layout.trusted[number] = row.given is not None, row.trusted
    slots.start[:, number] = n
    first = len(slots.active) - len(row.blanks)
    for slot, blank, start in zip(range(first, len(slots.active)), row.blanks, row.starts, strict=False):
        slots.active[slot, number], slots.start[slot, number] = True, start
        length = len(blank.continuation)
        if slot == len(slots.active) - 1:
            layout.suffix[number, :length], layout.suffix_lengths[number] = blank.continuation, length
            layout.suffix_attends_to[number, :length] = blank.attends_to
        else:
            slots.continuation[slot, number, :length] = blank.continuation
            slots.continuation_lengths[slot, number] = length
            slots.attends_to[slot, number, :length] = blank.attends_to
    for slot, own in enumerate(row.allowed, start=first):
        slots.begin[slot, number] = automaton.begin[own]
    for slot, own, symbols in zip(range(first, len(slots.active)), row.allowed, row.symbols, strict=False):
        slots.drafted[slot, number, : len(symbols)] = automaton.columns[own][symbols]
