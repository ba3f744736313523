"""The named scripts: which of them a checkpoint was trained with stands in its contract."""

from __future__ import annotations

from collections.abc import Callable

from inspire_fast.core.registry import Registry
from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.script import ActionSlot, Context, Forced, ForEachTarget, Script, Slot

TASK = Context(text="Task: {instruction}, State: {state};\n")
ACTION = (Forced(text="Action: ", weight=1.0), ActionSlot())


def pi0_fast(question: Question | None = None) -> Script:
    """openpi's prompt: no questions. `question` is accepted and not asked, so that runs can be compared."""
    del question
    return Script(name="pi0_fast", segments=(TASK, *ACTION))


def inspire(question: Question) -> Script:
    """Questions after the task, as the released InSpire-FAST code trains."""
    return Script(name="inspire", segments=(TASK, _ask(question), *ACTION))


def _ask(question: Question) -> ForEachTarget:
    return ForEachTarget(
        segments=(Forced(text="Question: {question} Answer:"), Slot(question=question), Forced(text=";\n"))
    )


SCRIPTS: Registry[Callable[[Question], Script]] = Registry("script", {"pi0_fast": pi0_fast, "inspire": inspire})
