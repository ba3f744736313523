"""Trace question: the path that the gripper will take through the picture, asked once per dialogue.

    now o---.                        trace_px [k, 2]: the path to the next gripper event, evenly spaced along it;
             `--1---2                `now` is not part of it
                     `---3           answer: y x of each point, 2 k locations

Example:
    >>> question = Trace(points=2)
    >>> scene = SceneFacts(targets=(), trace_px=np.array([[0.25, 0.5], [0.5, 0.5]], np.float32))
    >>> question.wording("")
    'What path will the gripper take?'
    >>> question.truth(scene)
    '<loc0256><loc0512><loc0512><loc0512>'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from inspire_fast.core.ranges import Count, Positive, require_ranges
from inspire_fast.core.types import SceneFacts
from inspire_fast.dialogue.locations import BINS, Bins, Locations, read, write
from inspire_fast.dialogue.questions.base import parameters_of, require_fact
from inspire_fast.dialogue.questions.pictures import check_camera, closeness


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What path will the gripper take? <loc0256><loc0512> and further points.

    The future of the gripper in the picture (ST4VLA's trajectories), up to the next gripper event.

    Attributes:
        points: number of points; the labels must have as many.
        bins, camera: see `Point`.
        template: wording.
        tolerance: mean distance of the points, as a fraction of the picture, from which on a path scores 0.
    """

    points: Count = 8
    bins: Bins = BINS
    camera: str | None = None
    template: str = "What path will the gripper take?"
    tolerance: Positive = 0.1
    name: str = "trace"
    about_scene: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_ranges(self)
        check_camera(self.camera)

    @property
    def answers(self) -> tuple[str, ...]:
        """None in words; see `form`."""
        return ()

    @property
    def form(self) -> Locations:
        """A point after the other: y, x, y, x, ..."""
        return Locations(count=2 * self.points, bins=self.bins)

    def wording(self, target: str = "") -> str:
        """The question; there is no target."""
        del target
        return self.template

    def truth(self, facts: SceneFacts) -> str:
        """`trace_px` in bins.

        Raises:
            UnknownFactError: the labels have no trace in this frame.
            ValueError: they have another number of points.
        """
        return write(self._path(facts).ravel().tolist(), self.bins)

    def score(self, answer: str, facts: SceneFacts) -> float:
        """1 for the path of the right bins, less with the points' mean distance, 0 from `tolerance` on."""
        if answer == self.truth(facts):
            return 1.0
        if not self.form.allows(answer):
            return 0.0
        return closeness(read(answer, self.bins).reshape(-1, 2), self._path(facts), self.tolerance)

    def _path(self, facts: SceneFacts) -> np.ndarray:
        trace = require_fact(facts.trace_px, of="the scene", column="trace_px", what="trace of the gripper")
        if len(trace) != self.points:
            raise ValueError(
                f"The question about the trace has {self.points} points, the labels have {len(trace)}. Set the "
                f"question's `points` to {len(trace)}, or label the dataset again."
            )
        return trace

    def parameters(self) -> dict[str, Any]:
        """Fields of the question, for the registry."""
        return parameters_of(self)
