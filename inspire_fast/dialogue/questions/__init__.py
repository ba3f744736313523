"""Questions, one file each: an example, the wording, the allowed answers, the truth from facts, and the score."""

from inspire_fast.dialogue.questions.base import Question as Question
from inspire_fast.dialogue.questions.registry import QUESTIONS as QUESTIONS
