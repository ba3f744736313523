"""The paper's question: in which of six directions is the target, or is it grasped?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inspire_fast.core.types import TargetFacts
from inspire_fast.robots.spec import Axes


@dataclass(frozen=True, kw_only=True)
class Direction:
    """In which direction is {object} relative to the robot? right, left, up, down, front, back or grasped.

    The axis with the largest absolute component of `offset_m` decides (InSpire, arXiv 2505.13888). Which word names which
    signed axis is data of the robot.

    Attributes:
        axes: the robot's words for its signed axes.
        grasped: the word for a held target ("catch" in the released checkpoints).
        template: the wording; `{object}` stands for the phrase.
        deadband_m: where positive, a target closer than this (Euclidean, metres) is answered with `close`. Off in the
            published pi0-FAST runs.
        close: the word for that.
    """

    axes: Axes
    grasped: str = "grasped"
    template: str = "In which direction is {object} relative to the robot?"
    deadband_m: float = 0.0
    close: str = "close"
    name: str = "direction"

    def __post_init__(self) -> None:
        if "{object}" not in self.template:
            raise ValueError(f"The wording must hold '{{object}}'; got {self.template!r}.")
        if self.deadband_m < 0:
            raise ValueError(f"deadband_m must be >= 0 metres; got {self.deadband_m}.")
        if len(set(self.answers)) != len(self.answers):
            raise ValueError(f"The answer words are not distinct: {self.answers}.")

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
        if self.deadband_m > 0 and float(np.linalg.norm(facts.offset_m)) < self.deadband_m:
            return self.close
        axis = int(np.argmax(np.abs(facts.offset_m)))
        return self.axes.word(axis, positive=bool(facts.offset_m[axis] > 0))

    def score(self, answer: str, facts: TargetFacts) -> float:
        """1 when the word is the right one, else 0."""
        return float(answer == self.truth(facts))

    def parameters(self) -> dict[str, Any]:
        """See `Question.parameters`."""
        return {k: v for k, v in asdict(self).items() if k != "name"}

    @classmethod
    def build(cls, *, axes: Axes | dict[str, Any], **parameters: Any) -> Direction:
        """Makes the question from its `parameters()`, also after a trip through JSON."""
        if isinstance(axes, dict):
            axes = Axes(**{k: (v[0], v[1]) for k, v in axes.items()})
        return cls(axes=axes, **parameters)
