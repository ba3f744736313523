"""Who answers the questions in an evaluation: the policy, an oracle, a liar, or nobody.

The oracle's success rate is the upper bound of what better answers could bring; with the liar's it says whether the
policy listens to the answers at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import SceneFacts
from inspire_fast.dialogue.questions import Question

Answering = Literal["own", "oracle", "adversarial", "skip"]
ANSWERING: tuple[Answering, ...] = get_args(Answering)


def options_for(answering: Answering, facts: SceneFacts | None, questions: Mapping[str, Question]) -> RequestOptions:
    """What a request asks for, at the moment of these facts.

    Raises:
        ValueError: answers are to be forced, but the policy asks nothing, or nobody knows the truth.
    """
    if answering == "own":
        return RequestOptions()
    if answering == "skip":
        return RequestOptions(mode="skip")
    if not questions:
        raise ValueError(f"The policy asks no questions: there are no answers for --answers {answering} to force.")
    if facts is None or not facts.targets:
        raise ValueError(
            f"The simulator does not know what this task's phrases mean: --answers {answering} needs truth."
        )
    chosen = []
    for target in facts.targets:
        for question in questions.values():
            truth = question.truth(target)
            chosen.append(truth if answering == "oracle" else lie(question, truth))
    return RequestOptions(mode="force", targets=tuple(t.phrase for t in facts.targets), answers=tuple(chosen))


def lie(question: Question, truth: str) -> str:
    """Always wrong, and always the same lie about the same truth: the answer half way round the list of answers.

        right  left   up    down     front  back  grasped
        down   front  back  grasped  right  left  up         (of seven, the third one after it)

    Raises:
        ValueError: only one answer is allowed.
    """
    answers = question.answers
    if len(answers) < 2:
        raise ValueError(f"Question {question.name!r} allows one answer only: there is no wrong one.")
    return answers[(answers.index(truth) + len(answers) // 2) % len(answers)]
