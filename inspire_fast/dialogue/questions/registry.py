"""Every question by the name that stands in a checkpoint's contract."""

from collections.abc import Callable

from inspire_fast.core.registry import Registry
from inspire_fast.dialogue.questions.base import Question
from inspire_fast.dialogue.questions.direction import Direction

QUESTIONS: Registry[Callable[..., Question]] = Registry("question", {"direction": Direction.build})
