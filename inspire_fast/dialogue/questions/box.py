"""Box question: the bounding box of the target in the picture.

    (0,0) +--------------+           box_px   (0.25, 0.5, 0.375, 0.75): y0 x0 y1 x1
          |      +---+   |           answer   <loc0256><loc0512><loc0384><loc0767>
          |      +---+   |
          +--------------+ (1,1)

Example:
    >>> question = Box()
    >>> bowl = TargetFacts(phrase="the bowl", offset_m=None, grasped=False, box_px=(0.25, 0.5, 0.375, 0.75))
    >>> question.wording(bowl.phrase)
    'What is the bounding box of the bowl?'
    >>> question.truth(bowl)
    '<loc0256><loc0512><loc0384><loc0767>'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inspire_fast.core.ranges import require_ranges
from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.locations import BINS, Bins, Locations, read, write
from inspire_fast.dialogue.questions.base import check_words, parameters_of, require_fact
from inspire_fast.dialogue.questions.pictures import check_camera, overlap


@dataclass(frozen=True, kw_only=True)
class Box:
    """What is the bounding box of {object}? <loc0256><loc0512><loc0384><loc0767>.

    PaliGemma's order of the corners, which decoding keeps: y0 <= y1 and x0 <= x1.

    Attributes:
        bins, camera, template: see `Point`.
    """

    bins: Bins = BINS
    camera: str | None = None
    template: str = "What is the bounding box of {object}?"
    name: str = "box"

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
        """Four locations: y0, x0, y1, x1."""
        return Locations(count=4, bins=self.bins, box=True)

    def wording(self, target: str) -> str:
        """The question about `target`."""
        return self.template.format(object=target)

    def truth(self, facts: TargetFacts) -> str:
        """`box_px` in bins."""
        return write(self._box(facts), self.bins)

    def score(self, answer: str, facts: TargetFacts) -> float:
        """Intersection over union with `box_px`; 1 for the box of the right bins, 0 for other text."""
        if answer == self.truth(facts):
            return 1.0
        if not self.form.allows(answer):
            return 0.0
        return overlap(read(answer, self.bins).tolist(), self._box(facts))

    def _box(self, facts: TargetFacts) -> tuple[float, float, float, float]:
        return require_fact(facts.box_px, of=repr(facts.phrase), column="box_px", what="box in the picture")

    def parameters(self) -> dict[str, Any]:
        """Fields of the question, for the registry."""
        return parameters_of(self)
