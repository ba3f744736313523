"""How far away is the target, in words?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import itertools
import math
from typing import Any

import numpy as np

from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.questions.base import check_words, parameters_of


@dataclass(frozen=True, kw_only=True)
class Distance:
    """What is the distance between the robot and {object}? close, near, middle or far.

    The releases' "coarse distance" (InSpire). A held target is close.

    Attributes:
        words: from the nearest class to the farthest.
        bounds_m: where each class but the last ends, metres, ascending.
        template: the wording.
    """

    words: tuple[str, ...] = ("close", "near", "middle", "far")
    bounds_m: tuple[float, ...] = (0.06, 0.2, 0.3)
    template: str = "What is the distance between the robot and {object}?"
    name: str = "distance"

    def __post_init__(self) -> None:
        check_words(self.template, self.words)
        ascending = all(a < b < math.inf for a, b in itertools.pairwise((0.0, *self.bounds_m)))
        if len(self.bounds_m) != len(self.words) - 1 or not ascending:
            raise ValueError(
                f"{len(self.words)} words need {len(self.words) - 1} ascending bounds in metres, above 0; got {self.bounds_m}."
            )

    @property
    def answers(self) -> tuple[str, ...]:
        return self.words

    def wording(self, target: str) -> str:
        """See `Question.wording`."""
        return self.template.format(object=target)

    def truth(self, facts: TargetFacts) -> str:
        """See `Question.truth`; a bound belongs to the farther class."""
        if facts.grasped:
            return self.words[0]
        return self.words[int(np.searchsorted(self.bounds_m, np.linalg.norm(facts.offset_m), side="right"))]

    def score(self, answer: str, facts: TargetFacts) -> float:
        """1 when the word is the right one, else 0."""
        return float(answer == self.truth(facts))

    def parameters(self) -> dict[str, Any]:
        """See `Question.parameters`."""
        return parameters_of(self)

    @classmethod
    def build(
        cls,
        *,
        axes: object = None,
        words: Sequence[str] = ("close", "near", "middle", "far"),
        bounds_m: Sequence[float] = (0.06, 0.2, 0.3),
        **wording: str,
    ) -> Distance:
        """Makes the question from its `parameters()`, also after a trip through JSON. A distance needs no `axes`."""
        del axes
        return cls(words=tuple(words), bounds_m=tuple(bounds_m), **wording)
