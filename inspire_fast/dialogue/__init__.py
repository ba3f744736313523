"""Dialogue between robot and model: scripts with blanks, the renderer, questions, and grounding of instructions."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.dialogue.questions.base import Question as Question
    from inspire_fast.dialogue.questions.registry import QUESTIONS as QUESTIONS
    from inspire_fast.dialogue.render import PromptFields as PromptFields
    from inspire_fast.dialogue.script import SCRIPTS as SCRIPTS
    from inspire_fast.dialogue.script import Script as Script
    from inspire_fast.dialogue.vocabulary import Vocabulary as Vocabulary

__getattr__, __dir__ = lazy_exports(__name__)
