"""The dialogues of several rows as padded arrays, in shape buckets, so that one compiled program serves them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.render import Blank, Turn, answer_ids, plan
from inspire_fast.dialogue.script import ActionSlot, Script
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.tokenizers.grammar import trie

PROMPT_BUCKETS = tuple(range(32, 1025, 32))
THEN_BUCKETS = tuple(range(16, 513, 16))
ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
QUESTION_BUCKETS = (0, 1, 2, 3, 4, 6, 8, 12, 16)


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


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Slot:
    """One question slot of all rows: `f` ids of given text behind the blank, `d` of an answer, `n` trie states, `k` symbols.

    In a `Layout` every array has one more axis in front: `q` slots, which the compiled program runs through.
    """

    active: jax.Array  # bool [b] the row asks this question
    then: jax.Array  # int32 [b, f] given text behind the answer
    then_lengths: jax.Array  # int32 [b]
    reach: jax.Array  # int32 [b, f] see `Blank.reach`
    forced: jax.Array  # int32 [b, d] symbols to write instead of the model's choice, -1 where it chooses
    answer_ids: jax.Array  # int32 [k]
    next_state: jax.Array  # int32 [n, k]
    accepting: jax.Array  # bool [n]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Layout:
    """`b` rows, `l` ids of prompt; see `Slot` for the questions."""

    ids: jax.Array  # int32 [b, l] text before the first blank
    lengths: jax.Array  # int32 [b]
    block: jax.Array  # int32 [b, l]
    real: jax.Array  # bool [b], False on padding rows
    slots: Slot  # every array with a leading axis `q`


@dataclass(frozen=True, kw_only=True)
class Dialogues:
    """A layout and, per row, the question of each slot, to read the result with."""

    layout: Layout
    questions: tuple[tuple[Question, ...], ...]


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
    turns: Sequence[Turn],
    vocabulary: Vocabulary,
    answers: Mapping[str, Answers],
    forced: Sequence[Sequence[str]] | None = None,
) -> Dialogues:
    """Arrays for `turns`, padded to buckets.

    Raises:
        ValueError: no turns, too many rows or questions, or forced answers that do not fit the questions.
    """
    plans = [plan(script, turn, vocabulary) for turn in turns]
    blanks = [row[:-1] for _, row in plans]  # the last blank is the action slot
    rows = bucket(len(turns), ROW_BUCKETS, "rows")
    slots = bucket(max(map(len, blanks), default=0), QUESTION_BUCKETS, "questions")
    prompt = bucket(max(len(tokens) for tokens, _ in plans), PROMPT_BUCKETS, "prompt ids")
    then = bucket(max((len(b.then) for row in blanks for b in row), default=0), THEN_BUCKETS, "ids between blanks")
    depth = max((a.depth for a in answers.values()), default=1)
    prompts = {
        "ids": np.zeros((rows, prompt), np.int32),
        "lengths": np.ones(rows, np.int32),
        "block": np.zeros((rows, prompt), np.int32),
    }
    asked = {
        "active": np.zeros((slots, rows), bool),
        "then": np.zeros((slots, rows, then), np.int32),
        "then_lengths": np.zeros((slots, rows), np.int32),
        "reach": np.zeros((slots, rows, then), np.int32),
        "forced": np.full((slots, rows, depth), -1, np.int32),
    }
    for row, (tokens, _) in enumerate(plans):
        n = len(tokens)
        prompts["ids"][row, :n], prompts["block"][row, :n], prompts["lengths"][row] = tokens.ids, tokens.block, n
        _fill_row(asked, row, blanks[row])
        if forced is not None:
            _force_row(asked["forced"], row, blanks[row], forced[row], answers)
    tables = _tables([script.questions[s % len(script.questions)] for s in range(slots)], answers)
    real = jnp.arange(rows) < len(turns)
    layout = Layout(**_on_device(prompts), real=real, slots=Slot(**_on_device(asked), **_on_device(tables)))
    return Dialogues(layout=layout, questions=tuple(tuple(_question(b) for b in row) for row in blanks))


def _on_device(arrays: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def _question(blank: Blank) -> Question:
    slot = blank.piece.slot
    if slot is None or isinstance(slot, ActionSlot):
        raise ValueError(f"A blank before the action is not a question: {blank.piece}.")
    return slot


def _fill_row(asked: dict[str, np.ndarray], row: int, blanks: Sequence[Blank]) -> None:
    for slot, blank in enumerate(blanks):
        n = len(blank.then)
        asked["active"][slot, row] = True
        asked["then"][slot, row, :n] = blank.then
        asked["reach"][slot, row, :n] = blank.reach
        asked["then_lengths"][slot, row] = n


def _force_row(
    forced: np.ndarray, row: int, blanks: Sequence[Blank], words: Sequence[str], answers: Mapping[str, Answers]
) -> None:
    if len(words) != len(blanks):
        targets = [blank.piece.target for blank in blanks]
        raise ValueError(f"{len(words)} forced answers for {len(blanks)} questions, about {targets}.")
    for slot, (blank, word) in enumerate(zip(blanks, words, strict=True)):
        symbols = answers[_question(blank).name].symbols(word)
        forced[slot, row, : len(symbols)] = symbols


def _tables(questions: Sequence[Question], answers: Mapping[str, Answers]) -> dict[str, np.ndarray]:
    """Trie tables of every slot, padded to one size; padding symbols are illegal everywhere."""
    k = max((len(answers[q.name].ids) for q in questions), default=1)
    n = max((len(answers[q.name].grammar.accepting) for q in questions), default=1)
    ids = np.zeros((len(questions), k), np.int32)
    next_state = np.full((len(questions), n, k), -1, np.int32)
    accepting = np.zeros((len(questions), n), bool)
    for slot, question in enumerate(questions):
        own = answers[question.name]
        states, symbols = own.grammar.next_state.shape
        ids[slot, :symbols] = own.ids
        next_state[slot, :states, :symbols] = own.grammar.next_state
        accepting[slot, :states] = own.grammar.accepting
    return {"answer_ids": ids, "next_state": next_state, "accepting": accepting}
