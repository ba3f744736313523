"""Answers of questions as automata over ids, and one automaton for all questions of a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import functools

import numpy as np

from inspire_fast.dialogue.forms import AnswerGrammar, form_of
from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.vocabulary import Vocabulary


class Answers:
    """A question's allowed answers as an automaton over ids. Equal for equal questions in the same vocabulary.

    Raises:
        ValueError: the tokenizer cannot write an answer, or one answer begins another.
    """

    def __init__(self, question: Question, vocabulary: Vocabulary) -> None:
        self.question, self.form, self._vocabulary = question, form_of(question), vocabulary
        try:
            self.grammar = self.form.grammar(vocabulary)
        except ValueError as error:
            raise ValueError(f"Question {question.name!r}, answers {self.form.listed()}: {error}") from error
        self.ids = self.grammar.ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answers) and self._vocabulary is other._vocabulary and self.question == other.question

    def __hash__(self) -> int:
        return hash((self.question.name, id(self._vocabulary)))

    @functools.cached_property
    def depth(self) -> int:
        """Ids of the longest answer."""
        return len(self.symbols(self.form.extreme(max, self._vocabulary)))

    def symbols(self, answer: str) -> list[int]:
        """An answer as indices into `ids`.

        Raises:
            ValueError: it is not allowed; lists what is.
        """
        if not self.form.allows(answer):
            raise ValueError(f"{answer!r} is not an allowed answer; allowed: {self.form.listed()}.")
        return np.searchsorted(self.ids, self.form.ids(answer, self._vocabulary)).tolist()

    def word(self, symbols: np.ndarray) -> str:
        """The answer that chosen symbols spell; -1 pads."""
        return self.form.answer(self.ids[symbols[symbols >= 0]].tolist(), self._vocabulary)

    def extreme(self, end: Callable[..., str]) -> str:
        """An allowed answer with the fewest ids (`end` is `min`) or the most (`max`)."""
        return self.form.extreme(end, self._vocabulary)


@dataclass(frozen=True, kw_only=True)
class JoinedAnswers:
    """The automata of several questions as one, over the ids of all: `k` symbols, `n` states.

    Attributes:
        grammar: the automaton; each question has states of its own.
        begin: question's answers -> the state in which they begin.
        columns: question's answers -> int32, the symbol of each of its own ones.
    """

    grammar: AnswerGrammar
    begin: Mapping[Answers, int]
    columns: Mapping[Answers, np.ndarray]

    def own(self, answers: Answers, symbols: np.ndarray) -> np.ndarray:
        """A question's own symbols of joined ones; -1 pads."""
        return np.where(symbols < 0, -1, np.searchsorted(self.columns[answers], symbols))


@functools.lru_cache(maxsize=64)
def joined(questions: tuple[Answers, ...]) -> JoinedAnswers:
    """The automata of a script's questions as one."""
    ids = np.unique(np.concatenate([own.ids for own in questions])) if questions else np.zeros(1, np.int32)
    grammars = [own.grammar for own in questions]
    starts = np.cumsum([0, *(len(g.accepting) for g in grammars)]).tolist()
    columns = {own: np.searchsorted(ids, own.ids).astype(np.int32) for own in questions}
    next_state = np.full((max(starts[-1], 1), len(ids)), -1, np.int32)
    for own, start in zip(questions, starts, strict=False):
        table = own.grammar.next_state
        next_state[start : start + len(table), columns[own]] = np.where(table < 0, -1, table + start)
    none = [np.zeros(1, np.int32)] * (not questions)
    return JoinedAnswers(
        grammar=AnswerGrammar(
            ids=ids.astype(np.int32),
            next_state=next_state,
            accepting=np.concatenate([*(g.accepting for g in grammars), *none]).astype(bool),
            not_below=np.concatenate([*(g.not_below for g in grammars), *none]).astype(np.int32),
        ),
        begin=dict(zip(questions, starts, strict=False)),
        columns=columns,
    )
