"""Distance question, answered in tenths of a metre.

    distance between gripper and bowl    0.336 m    rounded to steps of 0.1 m
    answer                               0.3        (in the numbering "decimetre": 3)

Example:
    >>> question = FineDistance()
    >>> bowl = TargetFacts(phrase="the bowl", offset_m=np.array([0.12, -0.31, -0.05]), grasped=False)
    >>> question.wording(bowl.phrase)
    'What is the accurate distance between the robot and the bowl?'
    >>> question.truth(bowl), FineDistance(numbering="decimetre").truth(bowl)
    ('0.3', '3')
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.questions.base import check_words, parameters_of
from inspire_fast.dialogue.questions.numbers import STEPS, Numbering, check_numbering, closeness, hear, say, to_steps


@dataclass(frozen=True, kw_only=True)
class FineDistance:
    """What is the accurate distance between the robot and {object}? 0.3.

    The releases' "fine distance" (InSpire), clipped to 0.9 m. A held target has distance 0.

    Attributes:
        numbering: `metre` with one decimal, or `decimetre` in whole numbers; see `Position3D`.
        template: wording.
    """

    numbering: Numbering = "metre"
    template: str = "What is the accurate distance between the robot and {object}?"
    name: str = "distance_fine"

    def __post_init__(self) -> None:
        check_numbering(self.numbering)
        check_words(self.template, ())

    @property
    def answers(self) -> tuple[str, ...]:
        return tuple(say(steps, self.numbering) for steps in range(STEPS + 1))

    def wording(self, target: str) -> str:
        """The question about `target`."""
        return self.template.format(object=target)

    def truth(self, facts: TargetFacts) -> str:
        """Distance, rounded to steps of 0.1 m."""
        metres = 0.0 if facts.grasped else float(np.linalg.norm(facts.offset_in("base")))
        return say(to_steps(metres, signed=False), self.numbering)

    def score(self, answer: str, facts: TargetFacts) -> float:
        """`closeness` of the number; 0 for other text."""
        if answer not in self.answers:
            return 0.0
        return closeness(hear(answer), hear(self.truth(facts)))

    def parameters(self) -> dict[str, Any]:
        """Fields of the question, for the registry."""
        return parameters_of(self)
