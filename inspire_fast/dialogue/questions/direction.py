"""Direction question, the paper's own: in which of six directions is the target, or is it grasped?

               up (z)  front (x)       The bowl is 0.12 m in front of the gripper, 0.31 m to its left and 0.05 m below:
                  |   /                -y is the largest component, and the robot's word for -y is "left".
                  |  /
    bowl  <----gripper---- right (y)

Example:
    >>> from inspire_fast.robots import ROBOTS
    >>> question = Direction(axes=ROBOTS["libero"].axes)
    >>> bowl = TargetFacts(phrase="the bowl", offset_m=np.array([0.12, -0.31, -0.05]), grasped=False)
    >>> question.wording(bowl.phrase)
    'In which direction is the bowl relative to the robot?'
    >>> question.truth(bowl)
    'left'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inspire_fast.core.ranges import NotNegative, require_ranges
from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.questions.base import check_words, parameters_of
from inspire_fast.robots.axes import Axes


@dataclass(frozen=True, kw_only=True)
class Direction:
    """In which direction is {object} relative to the robot? right, left, up, down, front, back or grasped.

    The axis with the largest absolute component of the offset decides (InSpire, arXiv 2505.13888). The robot defines
    the words of the signed axes.

    Attributes:
        axes: the robot's words for the frame's signed axes.
        frame: frame of the axes; see `TargetFacts.offset_in`.
        grasped: word for a held target ("catch" in the released checkpoints).
        template: wording; `{object}` is replaced by the phrase.
        deadband_m: Euclidean distance in metres below which the answer is `close`; 0, as in the published pi0-FAST
            runs, switches it off.
        close: word for a target within the deadband.
    """

    axes: Axes
    frame: str = "base"
    grasped: str = "grasped"
    template: str = "In which direction is {object} relative to the robot?"
    deadband_m: NotNegative = 0.0
    close: str = "close"
    name: str = "direction"

    def __post_init__(self) -> None:
        require_ranges(self)
        check_words(self.template, self.answers)

    @property
    def answers(self) -> tuple[str, ...]:
        return (*self.axes.words, self.grasped, *((self.close,) if self.deadband_m > 0 else ()))

    def wording(self, target: str) -> str:
        """The question about `target`."""
        return self.template.format(object=target)

    def truth(self, facts: TargetFacts) -> str:
        """Word of the largest component; of equal components the earlier axis decides."""
        if facts.grasped:
            return self.grasped
        offset = facts.offset_in(self.frame)
        if self.deadband_m > 0 and float(np.linalg.norm(offset)) < self.deadband_m:
            return self.close
        axis = int(np.argmax(np.abs(offset)))
        return self.axes.word(axis, positive=bool(offset[axis] > 0))

    def score(self, answer: str, facts: TargetFacts) -> float:
        """1 for the right word, else 0."""
        return float(answer == self.truth(facts))

    def parameters(self) -> dict[str, Any]:
        """Fields of the question, for the registry."""
        return parameters_of(self)
