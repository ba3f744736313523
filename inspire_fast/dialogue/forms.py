"""Forms of answers: which ones a question allows, and as which ids they are written.

form                           answer                ids
Choice(answers=("left", ...))  left                  those of " left"
Locations(count=2)             <loc0307><loc0717>    two location ids, without a space
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import functools
from typing import TYPE_CHECKING, Protocol

import numpy as np

from inspire_fast.tokenizers.grammar import trie
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from inspire_fast.dialogue.questions.base import Question
    from inspire_fast.dialogue.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class AnswerGrammar:
    """An automaton that allows, id by id, exactly the answers of one form. `k` ids, `n` states; state 0 begins.

    Attributes:
        ids: int32 `[k]`, the text ids that occur, ascending; symbols index into them.
        next_state: int32 `[n, k]`, -1 where the symbol is not allowed.
        accepting: bool `[n]`, an answer ends in this state.
        not_below: int32 `[n]`, place in the answer of the earlier symbol that the one chosen in this state must not be
            below; -1 where there is none. So the corners of a box stay in order without a state for each first corner.
    """

    ids: np.ndarray
    next_state: np.ndarray
    accepting: np.ndarray
    not_below: np.ndarray

    def allowed(self, state: int, chosen: Sequence[int]) -> np.ndarray:
        """bool `[k]`: the symbols that may follow the symbols `chosen`, which lead to `state`."""
        legal, place = self.next_state[state] >= 0, int(self.not_below[state])
        return legal if place < 0 else legal & (np.arange(len(self.ids)) >= chosen[place])


class AnswerForm(Protocol):
    """The allowed answers of a question, as text and as ids."""

    @property
    def first(self) -> str:
        """Some allowed answer."""
        ...

    def allows(self, answer: str) -> bool:
        """Whether the text is an allowed answer."""
        ...

    def listed(self) -> str:
        """The allowed answers in words, for messages."""
        ...

    def ids(self, answer: str, vocabulary: Vocabulary) -> list[int]:
        """Text ids of an allowed answer as the dialogue has it."""
        ...

    def answer(self, ids: Sequence[int], vocabulary: Vocabulary) -> str:
        """The inverse of `ids`."""
        ...

    def grammar(self, vocabulary: Vocabulary) -> AnswerGrammar:
        """The automaton that constrains decoding.

        Raises:
            ValueError: the vocabulary cannot write the answers.
        """
        ...

    def extreme(self, end: Callable[..., str], vocabulary: Vocabulary) -> str:
        """An allowed answer with the fewest ids (`end` is `min`) or the most (`max`)."""
        ...

    def wrong(self, answer: str) -> str:
        """Another allowed answer, far from the given one and always the same."""
        ...

    def pick(self, number: int) -> str:
        """An allowed answer drawn by a number, any whole one of at least 32 bits."""
        ...


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of a list of texts, written after a space."""

    answers: tuple[str, ...]

    @property
    def first(self) -> str:
        return self.answers[0]

    def allows(self, answer: str) -> bool:
        """See `AnswerForm`, here and below."""
        return answer in self.answers

    def listed(self) -> str:
        """All of them."""
        return ", ".join(self.answers)

    def ids(self, answer: str, vocabulary: Vocabulary) -> list[int]:
        """Those of a space and the text."""
        return vocabulary.encode_once(" " + answer)

    def answer(self, ids: Sequence[int], vocabulary: Vocabulary) -> str:
        """The text with these ids."""
        return _by_ids(self, vocabulary.text)[tuple(ids)]

    def grammar(self, vocabulary: Vocabulary) -> AnswerGrammar:
        """A trie of the texts."""
        for answer in self.answers:
            if vocabulary.text.decode(self.ids(answer, vocabulary)).strip() != answer:
                raise ValueError(f"The text tokenizer cannot spell the answer {answer!r}.")
        ids, tree = trie([self.ids(answer, vocabulary) for answer in self.answers])
        free = np.full(len(tree.accepting), -1, np.int32)
        return AnswerGrammar(ids=ids, next_state=tree.next_state, accepting=tree.accepting, not_below=free)

    def extreme(self, end: Callable[..., str], vocabulary: Vocabulary) -> str:
        """The text with the fewest or the most ids."""

        def length(answer: str) -> int:
            return len(self.ids(answer, vocabulary))

        return end(self.answers, key=length)

    def wrong(self, answer: str) -> str:
        """Half the list of answers further on.

            answer  right  left   up    down     front  back  grasped
            wrong   down   front  back  grasped  right  left  up         (of seven answers, the third after it)

        Raises:
            ValueError: only one answer is allowed.
        """
        count = len(self.answers)
        if count < 2:
            raise ValueError(f"Only {self.listed()!r} is allowed, so no answer is wrong.")
        return self.answers[(self.answers.index(answer) + count // 2) % count]

    def pick(self, number: int) -> str:
        """Counted round the list."""
        return self.answers[number % len(self.answers)]


@functools.lru_cache(maxsize=64)
def _by_ids(choice: Choice, text: TextTokenizer) -> dict[tuple[int, ...], str]:
    return {tuple(text.encode(" " + answer)): answer for answer in choice.answers}


@functools.lru_cache(maxsize=256)
def form_of(question: Question) -> AnswerForm:
    """The form of a question's answers: its own `form` if it has one, else a choice among its `answers`."""
    own: AnswerForm | None = getattr(question, "form", None)
    return Choice(answers=question.answers) if own is None else own
