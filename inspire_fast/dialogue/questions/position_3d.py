"""Where the target is, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
import itertools
from typing import Any

from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.questions.base import check_words, parameters_of
from inspire_fast.dialogue.questions.numbers import (
    STEPS,
    Numbering,
    check_numbering,
    closeness,
    hear,
    say,
    to_steps,
)


@dataclass(frozen=True, kw_only=True)
class Position3D:
    """What is the accurate position of {object} relative to the robot? x, y, z: 0.3 -0.1 0.2.

    The releases' "fine direction 3D" (InSpire), in both published numberings: `metre` (pi0-FAST, one decimal) and
    `decimetre` (miniVLA, whole numbers). Both are clipped to +-0.9 m, as miniVLA's are, so that the allowed answers are
    finite. A held target is where the gripper is.

    Attributes:
        numbering: how lengths are said.
        frame: see `Direction`.
        template: the wording.
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
        """6,859: every number on every axis."""
        return _triples(self.numbering)

    def wording(self, target: str) -> str:
        """See `Question.wording`."""
        return self.template.format(object=target)

    def truth(self, facts: TargetFacts) -> str:
        """See `Question.truth`."""
        if facts.grasped:
            return " ".join([say(0, self.numbering)] * 3)
        return " ".join(say(to_steps(v, signed=True), self.numbering) for v in facts.offset_in(self.frame))

    def score(self, answer: str, facts: TargetFacts) -> float:
        """Mean `closeness` of the three numbers; 0 for what is no answer."""
        if answer not in self.answers:
            return 0.0
        pairs = zip(answer.split(" "), self.truth(facts).split(" "), strict=True)
        return sum(closeness(hear(given), hear(true)) for given, true in pairs) / 3

    def parameters(self) -> dict[str, Any]:
        """See `Question.parameters`."""
        return parameters_of(self)

    @classmethod
    def build(cls, *, axes: object = None, **parameters: Any) -> Position3D:
        """Makes the question from its `parameters()`. Numbers need no words for `axes`."""
        del axes
        return cls(**parameters)


@cache  # the renderer asks for the allowed answers with every sample
def _triples(numbering: Numbering) -> tuple[str, ...]:
    numbers = [say(steps, numbering) for steps in range(-STEPS, STEPS + 1)]
    return tuple(" ".join(words) for words in itertools.product(numbers, repeat=3))
