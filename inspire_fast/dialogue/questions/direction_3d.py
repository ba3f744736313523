"""Direction question with one word per axis: front or back, right or left, up or down.

                 x       y       z
    offset    +0.12   -0.31   -0.05  m, from the gripper to the bowl
    answer    front    left    down

Example:
    >>> from inspire_fast.robots import ROBOTS
    >>> question = Direction3D(axes=ROBOTS["libero"].axes)
    >>> bowl = TargetFacts(phrase="the bowl", offset_m=np.array([0.12, -0.31, -0.05]), grasped=False)
    >>> question.wording(bowl.phrase)
    'In which direction is the bowl relative to the robot? x, y, z:'
    >>> question.truth(bowl)
    'front left down'
"""

from __future__ import annotations

from dataclasses import dataclass
import itertools
from typing import Any

import numpy as np

from inspire_fast.core.ranges import NotNegative, require_ranges
from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.questions.base import check_words, parameters_of
from inspire_fast.robots.axes import Axes


@dataclass(frozen=True, kw_only=True)
class Direction3D:
    """In which direction is {object} relative to the robot? x, y, z: front right up.

    The released code's "coarse direction 3D" (InSpire): the sign of each component of the offset, in the order x, y, z.

    Attributes:
        axes, frame, grasped, template: see `Direction`; the answer about a held target is the one word `grasped`.
        deadband_m: absolute component in metres below which its word is `close`; 0 switches it off.
        close: word for a component within the deadband.
    """

    axes: Axes
    frame: str = "base"
    grasped: str = "grasped"
    template: str = "In which direction is {object} relative to the robot? x, y, z:"
    deadband_m: NotNegative = 0.0
    close: str = "close"
    name: str = "direction_3d"

    def __post_init__(self) -> None:
        require_ranges(self)
        check_words(self.template, self.answers)

    @property
    def answers(self) -> tuple[str, ...]:
        middle = (self.close,) if self.deadband_m > 0 else ()
        per_axis = [(*pair, *middle) for pair in (self.axes.x, self.axes.y, self.axes.z)]
        return (*(" ".join(words) for words in itertools.product(*per_axis)), self.grasped)

    def wording(self, target: str) -> str:
        """The question about `target`."""
        return self.template.format(object=target)

    def truth(self, facts: TargetFacts) -> str:
        """Words of the three components; a component of exactly 0 counts as negative."""
        if facts.grasped:
            return self.grasped
        return " ".join(self._word(axis, value) for axis, value in enumerate(facts.offset_in(self.frame)))

    def _word(self, axis: int, value: float) -> str:
        near = self.deadband_m > 0 and np.abs(value) < self.deadband_m
        return self.close if near else self.axes.word(axis, positive=bool(value > 0))

    def score(self, answer: str, facts: TargetFacts) -> float:
        """Share of right words among the three; 0 or 1 for a held target."""
        given, true = answer.split(" "), self.truth(facts).split(" ")
        return sum(a == b for a, b in zip(given, true, strict=False)) / len(true) if len(given) == len(true) else 0.0

    def parameters(self) -> dict[str, Any]:
        """Fields of the question, for the registry."""
        return parameters_of(self)
