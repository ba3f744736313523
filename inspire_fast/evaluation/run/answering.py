"""Sources of the answers in an evaluation: the policy, an oracle, a liar, chance, or no questions at all.

The oracle's success rate is the upper bound of what better answers can give; compared with the liar's it shows whether
the policy uses the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
import zlib

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.dialogue.questions import Question

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
    chosen = []
    for target in facts.targets:
        for question in questions.values():
            truth = question.truth(target)
            chosen.append(_answer(answering, question, truth, target))
    return RequestOptions(mode="force", targets=tuple(t.phrase for t in facts.targets), answers=tuple(chosen))


def _answer(answering: Answering, question: Question, truth: str, target: TargetFacts) -> str:
    if answering == "oracle":
        return truth
    if answering == "adversarial":
        return lie(question, truth)
    where = b"" if target.offset_m is None else target.offset_m.tobytes()
    place = zlib.crc32(where + f"{target.phrase} {question.name}".encode())
    return question.answers[place % len(question.answers)]


def lie(question: Question, truth: str) -> str:
    """A wrong answer, always the same for the same truth: half the list of answers further on.

        truth  right  left   up    down     front  back  grasped
        lie    down   front  back  grasped  right  left  up         (of seven answers, the third after it)

    Raises:
        ValueError: only one answer is allowed.
    """
    answers = question.answers
    if len(answers) < 2:
        raise ValueError(f"Question {question.name!r} has one answer only, so no answer is wrong.")
    return answers[(answers.index(truth) + len(answers) // 2) % len(answers)]
