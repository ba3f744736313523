"""Point question: where in the picture is the target?

    (0,0) +--------------+           point_px (0.3, 0.7): 30 % of the height down, 70 % of the width to the right
          |         x    |           answer   <loc0307><loc0716>    y before x, `round(c * 1023)`
          |              |
          +--------------+ (1,1)

Example:
    >>> question = Point()
    >>> bowl = TargetFacts(phrase="the bowl", offset_m=None, grasped=False, point_px=(0.3, 0.7))
    >>> question.wording(bowl.phrase)
    'Where is the bowl?'
    >>> question.truth(bowl)
    '<loc0307><loc0716>'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inspire_fast.core.ranges import Positive, require_ranges
from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.locations import BINS, Bins, Locations, read, write
from inspire_fast.dialogue.questions.base import check_words, parameters_of, require_fact
from inspire_fast.dialogue.questions.pictures import check_camera, closeness


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where is {object}? <loc0307><loc0716>.

    A point on the target, in the picture that the model sees (ST4VLA's points; PaliGemma's location ids).

    Attributes:
        bins: bins of height and width; as many location ids as the vocabulary has.
        camera: canonical name of the camera whose picture is meant; None is the robot's first. Name it in the template,
            too ("Where is {object} in the wrist view?").
        template: wording; `{object}` is replaced by the phrase.
        tolerance: error, as a fraction of the picture, from which on a point scores 0.
    """

    bins: Bins = BINS
    camera: str | None = None
    template: str = "Where is {object}?"
    tolerance: Positive = 0.1
    name: str = "point"

    def __post_init__(self) -> None:
        require_ranges(self)
        check_words(self.template, ())
        check_camera(self.camera)

    @property
    def answers(self) -> tuple[str, ...]:
        """None in words; see `form`."""
        return ()

    @property
    def form(self) -> Locations:
        """Two locations: y, x."""
        return Locations(count=2, bins=self.bins)

    def wording(self, target: str) -> str:
        """The question about `target`."""
        return self.template.format(object=target)

    def truth(self, facts: TargetFacts) -> str:
        """`point_px` in bins."""
        return write(self._point(facts), self.bins)

    def score(self, answer: str, facts: TargetFacts) -> float:
        """1 for the true point's bin, less with the distance from it, 0 from `tolerance` on and for other text."""
        if answer == self.truth(facts):
            return 1.0
        if not self.form.allows(answer):
            return 0.0
        # Another bin than the true one is never all right.
        return closeness(read(answer, self.bins), np.array(self._point(facts)), self.tolerance)

    def _point(self, facts: TargetFacts) -> tuple[float, float]:
        return require_fact(facts.point_px, of=repr(facts.phrase), column="point_px", what="point in the picture")

    def parameters(self) -> dict[str, Any]:
        """Fields of the question, for the registry."""
        return parameters_of(self)
