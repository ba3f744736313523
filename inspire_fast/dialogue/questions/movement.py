"""Movement question: in which direction does the gripper move next? It needs no labels, only recorded positions.

                 x       y       z
    motion_m    +0.01   -0.06   -0.02  m, from the frame's gripper position to the one at the chunk's end
    answer               left

Example:
    >>> from inspire_fast.robots import ROBOTS
    >>> question = Movement(axes=ROBOTS["libero"].axes)
    >>> scene = SceneFacts(targets=(), motion_m=np.array([0.01, -0.06, -0.02], np.float32))
    >>> question.wording("")
    'In which direction does the gripper move next?'
    >>> question.truth(scene)
    'left'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from inspire_fast.core.ranges import NotNegative, require_ranges
from inspire_fast.core.types import SceneFacts
from inspire_fast.dialogue.questions.base import parameters_of, require_fact
from inspire_fast.robots.axes import Axes


@dataclass(frozen=True, kw_only=True)
class Movement:
    """In which direction does the gripper move next? right, left, up, down, front, back or nowhere.

    The axis with the largest absolute component of the coming motion decides. Readers of datasets fill in
    `SceneFacts.motion_m` from the state of the robot where it declares which columns are the gripper's position
    (`Robot.gripper`).

    Attributes:
        axes: the robot's words for its signed axes.
        still: word for a gripper that stays.
        still_m: length of the motion in metres below which it stays.
        template: wording.
    """

    axes: Axes
    still: str = "nowhere"
    still_m: NotNegative = 0.005
    template: str = "In which direction does the gripper move next?"
    name: str = "movement"
    about_scene: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_ranges(self)
        if len(set(self.answers)) != len(self.answers):
            raise ValueError(f"The answer words are not distinct: {self.answers}.")

    @property
    def answers(self) -> tuple[str, ...]:
        return (*self.axes.words, self.still)

    def wording(self, target: str = "") -> str:
        """The question; there is no target."""
        del target
        return self.template

    def truth(self, facts: SceneFacts) -> str:
        """The word of the largest component of `motion_m`.

        Raises:
            UnknownFactError: the motion is not known.
        """
        motion = require_fact(facts.motion_m, of="the scene", column="motion_m", what="coming motion of the gripper")
        if float(np.linalg.norm(motion)) < self.still_m:
            return self.still
        axis = int(np.argmax(np.abs(motion)))
        return self.axes.word(axis, positive=bool(motion[axis] > 0))

    def score(self, answer: str, facts: SceneFacts) -> float:
        """1 for the right word, else 0."""
        return float(answer == self.truth(facts))

    def parameters(self) -> dict[str, Any]:
        """Fields of the question, for the registry."""
        return parameters_of(self)
