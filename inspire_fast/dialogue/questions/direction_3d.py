"""One word per axis: front or back, right or left, up or down."""

from __future__ import annotations

from dataclasses import dataclass
import itertools
from typing import Any

import numpy as np

from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.questions.base import check_deadband, check_words, parameters_of, read_axes
from inspire_fast.robots.spec import Axes


@dataclass(frozen=True, kw_only=True)
class Direction3D:
    """In which direction is {object} relative to the robot? x, y, z: front right up.

    The released code's "coarse direction 3D" (InSpire): the sign of each component of the offset, in the order x, y, z.

    Attributes:
        axes, frame, grasped, template: see `Direction`; a held target is answered with the one word.
        deadband_m: where positive, a component smaller than this (metres) is answered with `close`.
        close: the word for that.
    """

    axes: Axes
    frame: str = "base"
    grasped: str = "grasped"
    template: str = "In which direction is {object} relative to the robot? x, y, z:"
    deadband_m: float = 0.0
    close: str = "close"
    name: str = "direction_3d"

    def __post_init__(self) -> None:
        check_words(self.template, self.answers)
        check_deadband(self.deadband_m)

    @property
    def answers(self) -> tuple[str, ...]:
        middle = (self.close,) if self.deadband_m > 0 else ()
        per_axis = [(*pair, *middle) for pair in (self.axes.x, self.axes.y, self.axes.z)]
        return (*(" ".join(words) for words in itertools.product(*per_axis)), self.grasped)

    def wording(self, target: str) -> str:
        """See `Question.wording`."""
        return self.template.format(object=target)

    def truth(self, facts: TargetFacts) -> str:
        """See `Question.truth`; a component of exactly 0 counts as negative."""
        if facts.grasped:
            return self.grasped
        return " ".join(self._word(axis, value) for axis, value in enumerate(facts.offset_in(self.frame)))

    def _word(self, axis: int, value: float) -> str:
        near = self.deadband_m > 0 and np.abs(value) < self.deadband_m
        return self.close if near else self.axes.word(axis, positive=bool(value > 0))

    def score(self, answer: str, facts: TargetFacts) -> float:
        """Share of the three words that are right; of a held target all or nothing."""
        given, true = answer.split(" "), self.truth(facts).split(" ")
        return sum(a == b for a, b in zip(given, true, strict=False)) / len(true) if len(given) == len(true) else 0.0

    def parameters(self) -> dict[str, Any]:
        """See `Question.parameters`."""
        return parameters_of(self)

    @classmethod
    def build(cls, *, axes: Axes | dict[str, Any], **parameters: Any) -> Direction3D:
        """Makes the question from its `parameters()`, also after a trip through JSON."""
        return cls(axes=read_axes(axes), **parameters)
