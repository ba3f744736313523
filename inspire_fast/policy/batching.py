"""The dialogues of several rows as padded arrays, in shape buckets, so that one compiled program serves them all.

Rows are right-aligned in their question slots: the last question of every row lies in the last slot, whose following text
(the script's way from questions to actions) is its own, shorter array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import functools
from typing import Any

import jax
import numpy as np

from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.render import Blank, PromptFields, answer_ids, render, split_at_blanks
from inspire_fast.dialogue.script import ActionSlot, Script
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.tokenizers.grammar import trie

PROMPT_BUCKETS = (*range(8, 129, 8), *range(144, 257, 16), *range(288, 513, 32), *range(576, 1025, 64))
CONTINUATION_BUCKETS = (*range(4, 33, 4), *range(40, 65, 8), *range(80, 257, 16), 384, 512)
ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
# Where answers are drafted, text between blanks is read in the prompt, and only read again where a draft fails: few shapes
# are worth more than tight ones.
SPARE_BUCKETS = (32, 64, 128, 256, 512)
QUESTION_BUCKETS = (0, 2, 4, 8, 16)


class Answers:
    """A question's allowed answers as a trie of ids.

    Raises:
        ValueError: the tokenizer cannot spell an answer, or one answer begins another.
    """

    def __init__(self, question: Question, vocabulary: Vocabulary) -> None:
        self.spelled = {answer: tuple(answer_ids(answer, vocabulary)) for answer in question.answers}
        for answer, ids in self.spelled.items():
            if vocabulary.text.decode(ids).strip() != answer:
                raise ValueError(
                    f"The text tokenizer cannot spell the answer {answer!r} of question {question.name!r}."
                )
        self.ids, self.grammar = trie(list(self.spelled.values()))
        self._by_symbols = {tuple(self.symbols(answer)): answer for answer in self.spelled}

    @property
    def depth(self) -> int:
        """Ids of the longest answer."""
        return max(map(len, self.spelled.values()))

    def symbols(self, answer: str) -> list[int]:
        """An answer as indices into `ids`.

        Raises:
            ValueError: it is not allowed; lists what is.
        """
        if answer not in self.spelled:
            raise ValueError(f"{answer!r} is not an allowed answer; allowed: {', '.join(self.spelled)}.")
        return np.searchsorted(self.ids, self.spelled[answer]).tolist()

    def word(self, symbols: np.ndarray) -> str:
        """The answer that chosen symbols spell; -1 pads."""
        return self._by_symbols[tuple(int(s) for s in symbols if s >= 0)]


@dataclass(frozen=True, kw_only=True)
class Given:
    """What is known of a row's answers before the model is asked.

    Attributes:
        answers: one per question; None where nothing is known.
        trusted: they stand as they are. Otherwise they are a draft: what the model would answer differently, it does.
    """

    answers: tuple[str, ...] | None = None
    trusted: bool = False


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Slots:
    """All question slots: `q` slots, `b` rows, `f` ids of text between two blanks, `d` of an answer, `n` states, `k` symbols."""

    active: jax.Array  # bool [q, b] the row asks this question
    start: (
        jax.Array | np.ndarray
    )  # int32 [q, b] where the answer begins in the prompt, if it stands there; else its end
    drafted: (
        jax.Array | np.ndarray
    )  # int32 [q, b, d] symbols of the answer that stands in the prompt, -1 behind its end
    continuation: jax.Array  # int32 [q, b, f] given text between this answer and the next question's
    continuation_lengths: jax.Array  # int32 [q, b]
    attends_to: jax.Array  # int32 [q, b, f] see `Blank.attends_to`
    answer_ids: jax.Array  # int32 [q, k]
    next_state: jax.Array  # int32 [q, n, k]
    accepting: jax.Array  # bool [q, n]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Layout:
    """`b` rows, `l` ids of prompt, `e` of text behind the last answer. NumPy arrays until they enter the program."""

    ids: jax.Array  # int32 [b, l] text before the first blank, or all of it with the given answers
    lengths: jax.Array  # int32 [b]
    block: jax.Array  # int32 [b, l]
    real: jax.Array  # bool [b], False on padding rows
    filled: jax.Array  # bool [b] the prompt holds given answers
    trusted: jax.Array  # bool [b] see `Given`
    suffix: jax.Array  # int32 [b, e] given text behind the last answer
    suffix_lengths: jax.Array  # int32 [b]
    suffix_attends_to: jax.Array  # int32 [b, e]
    slots: Slots


@dataclass(frozen=True, kw_only=True)
class Dialogues:
    """A layout and, per row, the question of each slot, to read the result with.

    Attributes:
        layout: the arrays.
        questions: per row.
        room: ids that the cache must hold behind the prompt, before the actions.
    """

    layout: Layout
    questions: tuple[tuple[Question, ...], ...]
    room: int


def bucket(size: int, sizes: Sequence[int], what: str) -> int:
    """The smallest of `sizes` that holds `size`.

    Raises:
        ValueError: none does.
    """
    for candidate in sizes:
        if size <= candidate:
            return candidate
    raise ValueError(f"{size} {what} exceed the largest bucket, {sizes[-1]}.")


def lay_out(
    script: Script,
    prompts: Sequence[PromptFields],
    vocabulary: Vocabulary,
    answers: Mapping[str, Answers],
    given: Sequence[Given] | None = None,
    *,
    least: int = 0,
) -> Dialogues:
    """Arrays for `prompts`, padded to buckets; their texts to one that holds at least `least` ids.

    Raises:
        ValueError: no prompts, too many rows or questions, or given answers that do not fit the questions.
    """
    given = [Given()] * len(prompts) if given is None else given
    rows = bucket(len(prompts), ROW_BUCKETS, "rows")
    planned = [_planned(script, fields, vocabulary, answers, g) for fields, g in zip(prompts, given, strict=True)]
    slots = bucket(
        max(len(row.questions) for row in planned), QUESTION_BUCKETS[1:] if script.questions else (0,), "questions"
    )
    prompt = bucket(max(least, *(len(row.ids) for row in planned)), PROMPT_BUCKETS, "prompt ids")
    texts = (
        [len(b.continuation) for row in planned for b in row.blanks[:-1]],
        [len(r.blanks[-1].continuation) for r in planned if r.blanks],
    )
    free = any(row.questions and not row.filled for row in planned)
    sizes = CONTINUATION_BUCKETS if free or not slots else SPARE_BUCKETS
    continuation = bucket(max(texts[0], default=0), sizes, "ids between blanks")
    suffix = max(texts[1], default=0)  # the script's way to the actions: as long in every call
    depth = max((a.depth for a in answers.values()), default=1)
    head = _zeros(
        rows,
        ids=(prompt,),
        block=(prompt,),
        suffix=(suffix,),
        suffix_attends_to=(suffix,),
        suffix_lengths=(),
        lengths=(),
    )
    head |= {name: np.zeros(rows, bool) for name in ("filled", "trusted")}
    head["lengths"][:] = 1
    asked = _zeros(
        slots,
        start=(rows,),
        continuation=(rows, continuation),
        continuation_lengths=(rows,),
        attends_to=(rows, continuation),
    )
    asked |= {"active": np.zeros((slots, rows), bool), "drafted": np.full((slots, rows, depth), -1, np.int32)}
    for number, row in enumerate(planned):
        _fill_row(head, asked, number, row)
    head["real"] = np.arange(rows) < len(prompts)
    layout = Layout(**head, slots=Slots(**asked, **_tables(script.questions, slots, answers)))
    room = slots * depth + ((slots - 1) * continuation + suffix if free else 0) if slots else 0
    return Dialogues(layout=layout, questions=tuple(row.questions for row in planned), room=room)


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """One row: what stands in its prompt, and what is still blank."""

    ids: np.ndarray
    block: np.ndarray
    blanks: tuple[Blank, ...]
    questions: tuple[Question, ...]
    symbols: tuple[list[int], ...]
    starts: tuple[int, ...]
    filled: bool
    trusted: bool


def _planned(
    script: Script, fields: PromptFields, vocabulary: Vocabulary, answers: Mapping[str, Answers], given: Given
) -> _Planned:
    beginning, blanks = split_at_blanks(script, fields, vocabulary)
    questions = tuple(_question(blank) for blank in blanks[:-1])  # the last blank is the action slot
    if given.answers is not None and len(given.answers) != len(questions):
        kind, about = "forced answers" if given.trusted else "drafted answers", [b.piece.target for b in blanks[:-1]]
        raise ValueError(f"{len(given.answers)} {kind} for {len(questions)} questions, about {about}.")
    if given.answers is None or not questions:
        tokens, symbols, starts, filled = beginning, (), (len(beginning),) * len(questions), False
    else:
        symbols = tuple(answers[q.name].symbols(word) for q, word in zip(questions, given.answers, strict=True))
        tokens, filled = render(script, fields, vocabulary, answers=given.answers).tokens, True
        lengths = [len(one) for one in symbols]
        gaps = [len(blank.continuation) for blank in blanks[:-1]]
        starts = tuple(len(beginning) + sum(lengths[:n]) + sum(gaps[:n]) for n in range(len(questions)))
    return _Planned(
        ids=tokens.ids,
        block=tokens.block,
        blanks=blanks[:-1],
        questions=questions,
        symbols=symbols,
        starts=starts,
        filled=filled,
        trusted=given.trusted and filled,
    )


def _question(blank: Blank) -> Question:
    slot = blank.piece.slot
    if slot is None or isinstance(slot, ActionSlot):
        raise ValueError(f"A blank before the action is not a question: {blank.piece}.")
    return slot


def _zeros(first: int, **shapes: tuple[int, ...]) -> dict[str, Any]:
    return {name: np.zeros((first, *shape), np.int32) for name, shape in shapes.items()}


def _fill_row(head: dict[str, np.ndarray], asked: dict[str, np.ndarray], row: int, planned: _Planned) -> None:
    n = len(planned.ids)
    head["ids"][row, :n], head["block"][row, :n], head["lengths"][row] = planned.ids, planned.block, n
    head["filled"][row], head["trusted"][row] = planned.filled, planned.trusted
    first = len(asked["active"]) - len(planned.questions)
    asked["start"][:, row] = n
    for number, blank in enumerate(planned.blanks):
        slot, length = first + number, len(blank.continuation)
        asked["active"][slot, row] = True
        asked["start"][slot, row] = planned.starts[number]
        if planned.filled:
            asked["drafted"][slot, row, : len(planned.symbols[number])] = planned.symbols[number]
        if number == len(planned.blanks) - 1:
            head["suffix"][row, :length], head["suffix_attends_to"][row, :length] = blank.continuation, blank.attends_to
            head["suffix_lengths"][row] = length
        else:
            asked["continuation"][slot, row, :length], asked["attends_to"][slot, row, :length] = (
                blank.continuation,
                blank.attends_to,
            )
            asked["continuation_lengths"][slot, row] = length


def _tables(questions: tuple[Question, ...], slots: int, answers: Mapping[str, Answers]) -> dict[str, Any]:
    """Trie tables of every slot; a script that asks several questions per target repeats them, the last one last."""
    asked = [questions[(s - slots) % len(questions)] for s in range(slots)]
    return _stacked(tuple(q.name for q in asked), tuple(answers[q.name] for q in asked))


@functools.lru_cache(maxsize=64)
def _stacked(names: tuple[str, ...], answers: tuple[Answers, ...]) -> dict[str, Any]:
    """Tables padded to one size; padding symbols are illegal everywhere."""
    k = max((len(own.ids) for own in answers), default=1)
    n = max((len(own.grammar.accepting) for own in answers), default=1)
    ids = np.zeros((len(names), k), np.int32)
    next_state = np.full((len(names), n, k), -1, np.int32)
    accepting = np.zeros((len(names), n), bool)
    for slot, own in enumerate(answers):
        states, symbols = own.grammar.next_state.shape
        ids[slot, :symbols] = own.ids
        next_state[slot, :states, :symbols] = own.grammar.next_state
        accepting[slot, :states] = own.grammar.accepting
    return {"answer_ids": ids, "next_state": next_state, "accepting": accepting}
