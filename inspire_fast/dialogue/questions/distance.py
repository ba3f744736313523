"""Distance question, answered in words: close, near, middle or far.

      close    |    near    |   middle   |   far
    0        0.06         0.20         0.30           m between gripper and target
                                          ^ bowl: 0.34 m

Example:
    >>> question = Distance()
    >>> bowl = TargetFacts(phrase="the bowl", offset_m=np.array([0.12, -0.31, -0.05]), grasped=False)
    >>> question.wording(bowl.phrase)
    'What is the distance between the robot and the bowl?'
    >>> question.truth(bowl)
    'far'
"""

from __future__ import annotations

from dataclasses import dataclass
import itertools
import math
from typing import Any

import numpy as np

from inspire_fast.core.ranges import Positive, require_ranges
from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.questions.base import check_words, parameters_of


@dataclass(frozen=True, kw_only=True)
class Distance:
    """What is the distance between the robot and {object}? close, near, middle or far.

    The releases' "coarse distance" (InSpire). A held target is close.

    Attributes:
        words: words of the classes, nearest first.
        bounds_m: upper bound of each class but the last, metres, ascending.
        template: wording.
    """

    words: tuple[str, ...] = ("close", "near", "middle", "far")
    bounds_m: tuple[Positive, ...] = (0.06, 0.2, 0.3)
    template: str = "What is the distance between the robot and {object}?"
    name: str = "distance"

    def __post_init__(self) -> None:
        require_ranges(self)
        check_words(self.template, self.words)
        ascending = all(a < b < math.inf for a, b in itertools.pairwise((0.0, *self.bounds_m)))
        if len(self.bounds_m) != len(self.words) - 1 or not ascending:
            raise ValueError(
                f"{len(self.words)} words need {len(self.words) - 1} ascending bounds in metres, above 0; got "
                f"{self.bounds_m}."
            )

    @property
    def answers(self) -> tuple[str, ...]:
        return self.words

    def wording(self, target: str) -> str:
        """The question about `target`."""
        return self.template.format(object=target)

    def truth(self, facts: TargetFacts) -> str:
        """Word of the distance's class; a bound belongs to the farther class."""
        if facts.grasped:
            return self.words[0]
        return self.words[int(np.searchsorted(self.bounds_m, np.linalg.norm(facts.offset_in("base")), side="right"))]

    def score(self, answer: str, facts: TargetFacts) -> float:
        """1 for the right word, else 0."""
        return float(answer == self.truth(facts))

    def parameters(self) -> dict[str, Any]:
        """Fields of the question, for the registry."""
        return parameters_of(self)
