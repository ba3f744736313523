"""The paper's question: in which of six directions is the target, or is it grasped?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.questions.base import check_deadband, check_words, parameters_of, read_axes
from inspire_fast.robots.spec import Axes


@dataclass(frozen=True, kw_only=True)
class Direction:
    """In which direction is {object} relative to the robot? right, left, up, down, front, back or grasped.

    The axis with the largest absolute component of the offset decides (InSpire, arXiv 2505.13888). Which word names which
    signed axis is data of the robot.

    Attributes:
        axes: the robot's words for the frame's signed axes.
        frame: along whose axes the offset is measured; see `TargetFacts.offset_in`.
        grasped: the word for a held target ("catch" in the released checkpoints).
        template: the wording; `{object}` stands for the phrase.
        deadband_m: where positive, a target closer than this (Euclidean, metres) is answered with `close`. Off in the
            published pi0-FAST runs.
        close: the word for that.
    """

    axes: Axes
    frame: str = "base"
    grasped: str = "grasped"
    template: str = "In which direction is {object} relative to the robot?"
    deadband_m: float = 0.0
    close: str = "close"
    name: str = "direction"

    def __post_init__(self) -> None:
        check_words(self.template, self.answers)
        check_deadband(self.deadband_m)

    @property
    def answers(self) -> tuple[str, ...]:
        return (*self.axes.words, self.grasped, *((self.close,) if self.deadband_m > 0 else ()))

    def wording(self, target: str) -> str:
        """See `Question.wording`."""
        return self.template.format(object=target)

    def truth(self, facts: TargetFacts) -> str:
        """See `Question.truth`; on equal components the earlier axis decides."""
        if facts.grasped:
            return self.grasped
        offset = facts.offset_in(self.frame)
        if self.deadband_m > 0 and float(np.linalg.norm(offset)) < self.deadband_m:
            return self.close
        axis = int(np.argmax(np.abs(offset)))
        return self.axes.word(axis, positive=bool(offset[axis] > 0))

    def score(self, answer: str, facts: TargetFacts) -> float:
        """1 when the word is the right one, else 0."""
        return float(answer == self.truth(facts))

    def parameters(self) -> dict[str, Any]:
        """See `Question.parameters`."""
        return parameters_of(self)

    @classmethod
    def build(cls, *, axes: Axes | dict[str, Any], **parameters: Any) -> Direction:
        """Makes the question from its `parameters()`, also after a trip through JSON."""
        return cls(axes=read_axes(axes), **parameters)
