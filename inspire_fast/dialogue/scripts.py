"""The named scripts: which of them a checkpoint was trained with stands in its contract."""

from __future__ import annotations

from collections.abc import Callable

from inspire_fast.core.registry import Registry
from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.script import ActionSlot, Context, Forced, ForEachTarget, Script, Slot

TASK = Context(text="Task: {instruction}, State: {state};\n")
ACTION = (Forced(text="Action: ", weight=1.0), ActionSlot())


def pi0_fast(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """openpi's prompt: no questions, whatever is given, so that runs can be compared. `released` leaves EOS out."""
    del questions, max_targets
    return Script(name="pi0_fast", segments=(TASK, ACTION[0], ActionSlot(eos=not released)))


def inspire(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """Questions after the task: "Task ...; Question ...; Action: ...", as the published runs were trained.

    Args:
        questions: asked one after another about each target.
        max_targets: see `Script`.
        released: the text that the released InSpire-FAST checkpoints were trained on: targets in the order of the
            code's own list of phrases with its rewrites, no EOS, and loss on direction words inside the questions.
    """
    ask = _ask(questions)
    if released:
        return _as_released("inspire", (TASK, ask), max_targets)
    return Script(name="inspire", segments=(TASK, ask, *ACTION), max_targets=max_targets)


def inspire_first(*questions: Question, max_targets: int | None = None, released: bool = False) -> Script:
    """Questions before the task: "Question ...; Task ...; Action: ...", as the paper's figure shows. See `inspire`."""
    ask = _ask(questions)
    if released:
        return _as_released("inspire_first", (ask, Context(text=TASK.text, joins=True)), max_targets)
    return Script(name="inspire_first", segments=(ask, TASK, *ACTION), max_targets=max_targets)


def _as_released(name: str, segments: tuple[Context | ForEachTarget, ...], max_targets: int | None) -> Script:
    return Script(
        name=name,
        segments=(*segments, ACTION[0], ActionSlot(eos=False)),
        max_targets=max_targets,
        grounding="released",
        supervise_matches=True,
    )


def _ask(questions: tuple[Question, ...]) -> ForEachTarget:
    if not questions:
        raise ValueError("A script that asks needs at least one question; `pi0_fast` asks none.")
    segments = [
        s
        for q in questions
        for s in (Forced(text="Question: {question} Answer:"), Slot(question=q), Forced(text=";\n"))
    ]
    return ForEachTarget(segments=tuple(segments))


SCRIPTS: Registry[Callable[..., Script]] = Registry(
    "script", {"pi0_fast": pi0_fast, "inspire": inspire, "inspire_first": inspire_first}
)
