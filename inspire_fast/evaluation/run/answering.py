"""Sources of the answers in an evaluation: the policy, an oracle, a liar, chance, or no questions at all.

The oracle's success rate is the upper bound of what better answers can give; compared with the liar's it shows whether
the policy uses the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
import zlib

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import SceneFacts
from inspire_fast.data.truths import truth_of
from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.questions import Question
from inspire_fast.dialogue.questions.base import about_scene

Answering = Literal["own", "oracle", "adversarial", "random", "skip"]


def options_for(answering: Answering, facts: SceneFacts | None, questions: Mapping[str, Question]) -> RequestOptions:
    """Options of a request, given the current facts.

    Raises:
        ValueError: answers are to be forced, but the policy asks no questions, or the truth is unknown.
    """
    if answering == "own":
        return RequestOptions()
    if answering == "skip":
        return RequestOptions(mode="skip")
    if not questions:
        raise ValueError(f"--answers {answering} forces answers, but the policy asks no questions.")
    if facts is None or not facts.targets:
        raise ValueError(
            f"The simulator does not know what this task's phrases mean: --answers {answering} needs truth."
        )
    about = [q for q in questions.values() if not about_scene(q)]
    asked = [
        *((q, t.phrase) for t in facts.targets for q in about),
        *((q, "") for q in questions.values() if about_scene(q)),
    ]
    chosen = [_answer(answering, question, target, facts) for question, target in asked]
    return RequestOptions(mode="force", targets=tuple(t.phrase for t in facts.targets), answers=tuple(chosen))


def _answer(answering: Answering, question: Question, target: str, facts: SceneFacts) -> str:
    truth = truth_of(question, target, facts)
    if answering == "oracle":
        return truth
    if answering == "adversarial":
        return lie(question, truth)
    offset = next((t.offset_m for t in facts.targets if t.phrase == target), None)
    where = b"" if offset is None else offset.tobytes()
    return form_of(question).pick(zlib.crc32(where + f"{target} {question.name}".encode()))


def lie(question: Question, truth: str) -> str:
    """A wrong answer, far from the truth and always the same for it; see `wrong` of the question's form.

    Raises:
        ValueError: only one answer is allowed.
    """
    return form_of(question).wrong(truth)
