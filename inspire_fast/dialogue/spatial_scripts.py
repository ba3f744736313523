r"""Scripts of ST4VLA (spatially guided training), as dialogues of one autoregressive network.

Stage 1, spatial grounding pre-training: the network answers, and does not act.

    ground             Task: put the bowl on the plate;
                       Question: Where is the bowl? Answer:<loc0307><loc0717>;
    paligemma_detect   detect bowl
                       <loc0256><loc0512><loc0384><loc0767> bowl <eos>

Stage 2, spatially guided action post-training: a spatial prompt precedes the action.

    st4vla             Task: ..., State: ...;
                       Figure out how to execute it, then locate the key object needed.
                       Action: 7 9 2|<eos>                     nothing is decoded before the action
    st4vla_answers     the same, and after the prompt the answers, which are decoded

Sources: ST4VLA (arXiv 2602.10109) and InternVLA-M1 (arXiv 2510.13778), which have the prompts; big_vision, which has
the wording of PaliGemma's detection.
"""

from __future__ import annotations

from typing import Literal

from inspire_fast.core.registry import require_choice
from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.segments import (
    ACTION,
    ActionSlot,
    Context,
    Forced,
    ForEachTarget,
    Script,
    Slot,
    ask,
)

SpatialPrompt = Literal["unified", "box", "point", "trace", "padding"]
SPATIAL_PROMPTS: dict[SpatialPrompt, str] = {
    "unified": "Figure out how to execute it, then locate the key object needed.",
    "box": "Identify the key objects of the task, then locate their bounding boxes.",
    "point": "Identify the key objects of the task, then point at each of them.",
    "trace": "Figure out how to execute it, then trace the path of the gripper.",
    # The control: as many words, and none is about the task or about a place (ST4VLA's random padding: 58.5 of 77.9).
    "padding": "Seven quiet lanterns hum, then sixteen clouds borrow the long purple afternoon.",
}


def ground(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """Questions alone, without state and without actions: ST4VLA's first stage, and its spatial data in the second.

    Raises:
        ValueError: there are no questions.
    """
    _refuse_released("ground", released=released)
    if not questions:
        raise ValueError("The script 'ground' answers questions and does not act: give it some (dialogue.questions).")
    segments = (Context(text="Task: {instruction};\n"), *ask(questions))
    return Script(name="ground", segments=segments, max_targets=max_targets)


def paligemma_detect(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """PaliGemma's own detection: "detect bowl", four locations without a space before them, the name again, EOS.

    A network with PaliGemma's weights answers it before any training with us (zero-shot baseline). It is about one
    target, by default the instruction's first; a request may name another. The text has no article.

    Raises:
        ValueError: the question is not one about a box with PaliGemma's 1024 bins, or there are several.
    """
    _refuse_released("paligemma_detect", released=released)
    if len(questions) != 1 or questions[0].name != "box" or getattr(questions[0], "bins", 0) != 1024:
        raise ValueError(
            "paligemma_detect answers the one question 'box', with 1024 bins; got "
            f"{[question.name for question in questions]}."
        )
    if max_targets not in (None, 1):
        raise ValueError(f"paligemma_detect is about one target; got max_targets={max_targets}.")
    said = (
        Context(text="detect {object}\n"),
        Slot(question=questions[0]),
        Forced(text=" {object}", weight=1.0, eos=True),
    )
    return Script(name="paligemma_detect", segments=(ForEachTarget(segments=said),), max_targets=1)


def st4vla(
    *questions: Question,
    max_targets: int | None = None,
    released: bool = False,
    spatial_prompt: SpatialPrompt = "unified",
) -> Script:
    """A spatial prompt in the context, and nothing decoded before the action. It ignores questions, as `pi0_fast`.

    Args:
        questions: of the run's other scripts.
        max_targets: likewise.
        released: refused; no such checkpoint was released.
        spatial_prompt: wording, a name of `SPATIAL_PROMPTS`.
    """
    del questions, max_targets
    _refuse_released("st4vla", released=released)
    return Script(name="st4vla", segments=(_prompt(spatial_prompt), ACTION, ActionSlot()))


def st4vla_answers(
    *questions: Question,
    max_targets: int | None = None,
    released: bool = False,
    spatial_prompt: SpatialPrompt = "unified",
) -> Script:
    """The spatial prompt, then answers that are decoded, then the action.

    Train it with drop-out of questions (`data.question_dropout`: `without` 0.3 or more, `unsupervised` 0.2): M1's
    authors report instability of answers in front of actions, and a policy with drop-out can skip them.

    Args:
        questions: as of `inspire`.
        max_targets: see `Script`.
        released: see `st4vla`.
        spatial_prompt: likewise.
    """
    _refuse_released("st4vla_answers", released=released)
    segments = (_prompt(spatial_prompt), *ask(questions), ACTION, ActionSlot())
    return Script(name="st4vla_answers", segments=segments, max_targets=max_targets)


def _prompt(wording: SpatialPrompt) -> Context:
    require_choice("spatial_prompt", wording, SpatialPrompt)
    return Context(text=f"Task: {{instruction}}, State: {{state}};\n{SPATIAL_PROMPTS[wording]}\n")


def _refuse_released(name: str, *, released: bool) -> None:
    if released:
        raise ValueError(f"There is no released checkpoint of script {name!r}; leave `inspire_released` out.")
