"""True answers of a dialogue, from the facts of a frame; and what is not asked where facts are missing.

A question whose fact the labels lack has no answer, and none is made up:

    unlabelled     refuse                     ask_nothing              ask_known
    a fact lacks   error, what to label       the actions alone        the questions whose facts are known
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from inspire_fast.core.errors import UnknownFactError
from inspire_fast.core.types import Sample, SceneFacts
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.dialogue.questions.base import Question, about_scene
from inspire_fast.dialogue.render import PromptFields, asked, nothing_of_the_scene
from inspire_fast.dialogue.script import Script
from inspire_fast.robots.spec import IMAGE_KEYS

Unlabelled = Literal["refuse", "ask_nothing", "ask_known"]
NOTHING: frozenset[tuple[str, str]] = frozenset()


def truth_of(question: Question, target: str, scene: SceneFacts | None) -> str:
    """The right answer to a question about a target, or about the scene ("").

    Raises:
        UnknownFactError: the facts do not say.
        ValueError: they are about places in the pictures of another camera than the question's.
    """
    if scene is None:
        about = repr(target) if target else "the scene"
        raise UnknownFactError(f"No facts about {about}. Label the dataset first.")
    _require_camera(question, scene)
    if about_scene(question):
        return question.truth(scene)
    facts = {t.phrase: t for t in scene.targets}
    if target not in facts:
        raise UnknownFactError(f"No facts about {target!r}; known: {sorted(facts)}. Label the dataset first.")
    return question.truth(facts[target])


def true_answers(script: Script, fields: PromptFields, facts: SceneFacts | None) -> tuple[str, ...]:
    """The right answer for every question slot of the dialogue, from facts. Raises as `truth_of`."""
    return tuple(truth_of(question, target, facts) for question, target in asked(script, fields))


def known_answer(question: Question, target: str, facts: SceneFacts | None) -> str | None:
    """As `truth_of`; None where the facts do not say."""
    try:
        return truth_of(question, target, facts)
    except UnknownFactError:
        return None


def known_score(question: Question, target: str, answer: str, facts: SceneFacts | None) -> float | None:
    """Score 0..1 of an answer about a target, or about the scene (""); None where the facts do not say."""
    if facts is None or known_answer(question, target, facts) is None:
        return None
    if about_scene(question):
        return question.score(answer, facts)
    return question.score(answer, next(t for t in facts.targets if t.phrase == target))


def left_out(script: Script, facts: SceneFacts | None) -> frozenset[tuple[str, str]]:
    """(question, target) of the questions about these facts' targets and the scene that the facts do not answer."""
    if facts is None:
        return nothing_of_the_scene(script)
    targets = [target.phrase for target in facts.targets]
    pairs = [(q, t) for q in script.questions for t in ([""] if about_scene(q) else targets)]
    return frozenset((q.name, target) for q, target in pairs if known_answer(q, target, facts) is None)


def facts_of(script: Script, sample: Sample, unlabelled: Unlabelled) -> SceneFacts | None:
    """Facts of the targets that a script asks about, in its words and order; None if it asks nothing.

    Training and held-out decoding ask about these, as inference does, without what is `left_out`.

    Raises:
        ValueError: facts that a question needs are missing in this frame, and `unlabelled` is "refuse".
    """
    if not script.questions:
        return None
    stored = sample.facts or SceneFacts(targets=())
    facts, missing = _asked_about(script, sample.observation.prompt, stored)
    lacking = left_out(script, facts)
    complete = not missing and not lacking and bool(facts.targets or script.scene_questions)
    if complete:
        return facts
    if unlabelled == "refuse":
        _refuse(script, sample.observation.prompt, facts, missing, lacking)
    everything = {(q.name, t) for q in script.questions for t in ([""] if about_scene(q) else _phrases(facts))}
    return facts if unlabelled == "ask_known" and everything - lacking else None


def _asked_about(script: Script, prompt: str, stored: SceneFacts) -> tuple[SceneFacts, list[str]]:
    """Facts of the targets to ask about, and the phrases among them without facts."""
    if not script.asks_about_targets:
        return replace(stored, targets=()), []
    grounding = GROUNDINGS[script.grounding]
    wanted = script.asked(grounding.targets(prompt, stored))
    known = tuple(t for t in grounding.facts(prompt, stored).targets if t.phrase in wanted)
    missing = [phrase for phrase in wanted if phrase not in {t.phrase for t in known}]
    return replace(stored, targets=known), missing or ([] if wanted else ["any"])


def _refuse(
    script: Script, prompt: str, facts: SceneFacts, missing: list[str], lacking: frozenset[tuple[str, str]]
) -> None:
    if missing:
        raise ValueError(
            f"Script {script.name!r} asks about the targets of {prompt!r}, and this frame has no facts about "
            f"{'any' if missing == ['any'] else missing}. Label the dataset; if its labels leave frames out on "
            "purpose, as hindsight does, choose `--data.unlabelled ask_nothing` (or ask_known); or train the "
            "`pi0_fast` script."
        )
    name, target = min(lacking)
    question = next(q for q in script.questions if q.name == name)
    try:
        truth_of(question, target, facts)
    except UnknownFactError as error:
        raise ValueError(f"Script {script.name!r} asks {name!r} in the dialogue of {prompt!r}: {error}") from error


def _phrases(facts: SceneFacts) -> list[str]:
    return [target.phrase for target in facts.targets]


def _require_camera(question: Question, scene: SceneFacts) -> None:
    """Refuses a question about one camera's picture where the labels are about another's; None is the first."""
    wanted: str | None = getattr(question, "camera", None)
    if not hasattr(question, "camera") or wanted == scene.camera:
        return
    if (wanted or IMAGE_KEYS[0]) != (scene.camera or IMAGE_KEYS[0]):
        raise ValueError(
            f"Question {question.name!r} is about the picture of {wanted or IMAGE_KEYS[0]!r}, and the labels are "
            f"places in the picture of {scene.camera or IMAGE_KEYS[0]!r}. Set the question's `camera` "
            f"(`--dialogue.question-parameters {question.name} '{{\"camera\": ...}}'`), or label the dataset for it."
        )
