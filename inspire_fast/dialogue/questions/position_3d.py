"""Position question: the offset of the target along each axis, in tenths of a metre.

                 x       y       z
    offset    +0.12   -0.31   -0.05  m, from the gripper to the bowl
    answer     0.1    -0.3     0.0   (in the numbering "decimetre": 1 -3 0)

Example:
    >>> import numpy as np
    >>> question = Position3D()
    >>> bowl = TargetFacts(phrase="the bowl", offset_m=np.array([0.12, -0.31, -0.05]), grasped=False)
    >>> question.wording(bowl.phrase)
    'What is the accurate position of the bowl relative to the robot? x, y, z:'
    >>> question.truth(bowl), Position3D(numbering="decimetre").truth(bowl)
    ('0.1 -0.3 0.0', '1 -3 0')
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
import itertools
from typing import Any

from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.questions.base import check_words, parameters_of
from inspire_fast.dialogue.questions.numbers import STEPS, Numbering, check_numbering, closeness, hear, say, to_steps


@dataclass(frozen=True, kw_only=True)
class Position3D:
    """What is the accurate position of {object} relative to the robot? x, y, z: 0.3 -0.1 0.2.

    The releases' "fine direction 3D" (InSpire), in both published numberings: `metre` (pi0-FAST, one decimal) and
    `decimetre` (miniVLA, whole numbers). Both are clipped to +-0.9 m, as miniVLA's are, so that the set of answers is
    finite. A held target has offset 0.

    Attributes:
        numbering: numbering of lengths.
        frame: see `Direction`.
        template: wording.
    """

    numbering: Numbering = "metre"
    frame: str = "base"
    template: str = "What is the accurate position of {object} relative to the robot? x, y, z:"
    name: str = "position_3d"

    def __post_init__(self) -> None:
        check_numbering(self.numbering)
        check_words(self.template, ())

    @property
    def answers(self) -> tuple[str, ...]:
        """6,859 answers: every number on every axis."""
        return _triples(self.numbering)

    def wording(self, target: str) -> str:
        """The question about `target`."""
        return self.template.format(object=target)

    def truth(self, facts: TargetFacts) -> str:
        """Offset along x, y and z, each rounded to steps of 0.1 m."""
        if facts.grasped:
            return " ".join([say(0, self.numbering)] * 3)
        return " ".join(say(to_steps(v, signed=True), self.numbering) for v in facts.offset_in(self.frame))

    def score(self, answer: str, facts: TargetFacts) -> float:
        """Mean `closeness` of the three numbers; 0 for other text."""
        if answer not in self.answers:
            return 0.0
        pairs = zip(answer.split(" "), self.truth(facts).split(" "), strict=True)
        return sum(closeness(hear(given), hear(true)) for given, true in pairs) / 3

    def parameters(self) -> dict[str, Any]:
        """Fields of the question, for the registry."""
        return parameters_of(self)


@cache  # the renderer needs the answers for every sample
def _triples(numbering: Numbering) -> tuple[str, ...]:
    numbers = [say(steps, numbering) for steps in range(-STEPS, STEPS + 1)]
    return tuple(" ".join(words) for words in itertools.product(numbers, repeat=3))
