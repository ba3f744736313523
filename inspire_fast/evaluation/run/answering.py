"""Sources of the answers in an evaluation: the policy, an oracle, a liar, chance, or no questions at all.

The oracle's success rate is the upper bound of what better answers can give; compared with the liar's it shows whether
the policy uses the answers. Does the policy listen to places? `shifted` moves each a tenth of the picture aside,
`swapped` gives each target the answer of the next one: a policy that listens goes there.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Literal, get_args
import zlib

import numpy as np

from inspire_fast.core.errors import UnknownFactError
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import SceneFacts
from inspire_fast.data.truths import truth_of
from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.locations import Locations, read, write
from inspire_fast.dialogue.questions import Question
from inspire_fast.dialogue.questions.base import about_scene

Forced = Literal["oracle", "adversarial", "random", "shifted", "swapped"]
Answering = Literal["own", "skip"] | Forced
FORCED: tuple[Forced, ...] = get_args(Forced)
Remembered = MutableMapping[tuple[str, str], str]
"""(question, target) -> the last known truth of an episode."""
_SHIFT = 0.1


def options_for(
    answering: Answering,
    facts: SceneFacts | None,
    questions: Mapping[str, Question],
    remembered: Remembered | None = None,
) -> RequestOptions:
    """Options of a request, given the current facts.

    Args:
        answering: source of the answers.
        facts: of this moment.
        questions: of the policy.
        remembered: of this episode; changed. Where a thing is hidden at this moment, its last known place is the truth.

    Raises:
        ValueError: answers are to be forced, but the policy asks no questions, the truth is unknown, or this source
            does not fit the questions or targets.
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
    if answering == "shifted" and not any(isinstance(form_of(q), Locations) for q in questions.values()):
        raise ValueError(f"--answers shifted moves places in pictures; the policy asks {sorted(questions)}, in words.")
    phrases = [t.phrase for t in facts.targets]
    if answering == "swapped" and len(phrases) < 2:
        raise ValueError(f"--answers swapped exchanges the answers about targets; here is only {phrases}.")
    remembered = {} if remembered is None else remembered
    following = dict(zip(phrases, phrases[1:] + phrases[:1], strict=True))
    chosen = []
    for question, target in asked:
        of = following.get(target, target) if answering == "swapped" else target
        chosen.append(_answer(answering, question, of, _truth(question, of, facts, remembered), facts))
    return RequestOptions(mode="force", targets=tuple(t.phrase for t in facts.targets), answers=tuple(chosen))


def _truth(question: Question, target: str, facts: SceneFacts, remembered: Remembered) -> str:
    key = question.name, target
    try:
        remembered[key] = truth_of(question, target, facts)
    except UnknownFactError:
        if key not in remembered:
            raise
    return remembered[key]


def _answer(answering: Forced, question: Question, target: str, truth: str, facts: SceneFacts) -> str:
    if answering in ("oracle", "swapped"):
        return truth
    if answering == "shifted":
        return shifted(question, truth)
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


def shifted(question: Question, truth: str) -> str:
    """The places of an answer, moved by a tenth of height and width to the roomier side; words are left as they are.

        truth     <loc0512><loc0800>     y 50 %, x 78 %
        shifted   <loc0614><loc0698>     y 60 %, x 68 %

    What has less room than a tenth on both sides, a large box, goes as far as it can.
    """
    form = form_of(question)
    if not isinstance(form, Locations):
        return truth
    places = read(truth, form.bins).reshape(-1, 2)
    before, after = places.min(axis=0), 1 - places.max(axis=0)
    move = np.where(after >= before, np.minimum(after, _SHIFT), -np.minimum(before, _SHIFT))
    return write(np.clip(places + move, 0, 1), form.bins)
