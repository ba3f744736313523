"""Scripts by name: what is said in which order. Their segments are in `segments.py`.

`spatial_scripts.py` has ST4VLA's; here are openpi's and InSpire's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from inspire_fast.core.registry import Registry
from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.segments import (
    ACTION,
    TASK,
    ActionSlot,
    Ask,
    Context,
    Forced,
    ForEachTarget,
    Script,
    Segment,
    Slot,
    ask,
)
from inspire_fast.dialogue.spatial_scripts import ground, paligemma_detect, st4vla, st4vla_answers

__all__ = ["SCRIPTS", "ActionSlot", "Ask", "Context", "ForEachTarget", "Forced", "Script", "Segment", "Slot"]


def pi0_fast(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """openpi's prompt. It ignores questions, so that runs can be compared; `released` leaves EOS out."""
    del questions, max_targets
    return Script(name="pi0_fast", segments=(TASK, ACTION, ActionSlot(eos=not released)))


def lerobot_pi0_fast(
    *questions: Question, max_targets: int | None = None, released: bool = False, state_dim: int = 0
) -> Script:
    """LeRobot's text: the instruction's own case, and a second BOS before the actions. It ignores questions.

    Zeros fill the state up to `state_dim` numbers (LeRobot 0.4: 32); 0 leaves it as it is.
    """
    del questions, max_targets
    task = replace(TASK, lower=False, state_dim=state_dim)
    return Script(
        name="lerobot_pi0_fast", segments=(task, Forced(text="", bos=True), ACTION, ActionSlot(eos=not released))
    )


def inspire(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """Questions after the task: "Task ...; Question ...; Action: ...", as in the published training runs.

    Args:
        questions: questions about each target, in this order, and after them those about the scene.
        max_targets: see `Script`.
        released: text of the released InSpire-FAST checkpoints: targets in the order of the release's list of phrases,
            with its rewrites, no EOS, and loss on direction words inside the questions.
    """
    return _asking("inspire", (TASK, *ask(questions)), max_targets, released=released)


def inspire_first(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """Questions before the task: "Question ...; Task ...; Action: ...", as in the paper's figure. See `inspire`."""
    segments = (*ask(questions), replace(TASK, joins=released))
    return _asking("inspire_first", segments, max_targets, released=released)


def _asking(name: str, segments: tuple[Segment, ...], max_targets: int | None, *, released: bool) -> Script:
    return Script(
        name=name,
        segments=(*segments, ACTION, ActionSlot(eos=not released)),
        max_targets=max_targets,
        grounding="released" if released else "instruction",
        supervise_matches=released,
    )


SCRIPTS: Registry[Callable[..., Script]] = Registry(
    "script",
    {
        "pi0_fast": pi0_fast,
        "lerobot_pi0_fast": lerobot_pi0_fast,
        "inspire": inspire,
        "inspire_first": inspire_first,
        "ground": ground,
        "paligemma_detect": paligemma_detect,
        "st4vla": st4vla,
        "st4vla_answers": st4vla_answers,
    },
)
