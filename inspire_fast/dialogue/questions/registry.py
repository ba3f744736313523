"""Questions by name; a checkpoint's contract stores these names.

Example:
    >>> import inspire_fast as ifa
    >>> question = ifa.QUESTIONS["direction"](axes=ifa.ROBOTS["libero"].axes)
    >>> question.answers
    ('right', 'left', 'up', 'down', 'front', 'back', 'grasped')
"""

from collections.abc import Callable
from functools import partial

from inspire_fast.core.registry import Registry
from inspire_fast.dialogue.questions.base import Question, make_question
from inspire_fast.dialogue.questions.box import Box
from inspire_fast.dialogue.questions.direction import Direction
from inspire_fast.dialogue.questions.direction_3d import Direction3D
from inspire_fast.dialogue.questions.distance import Distance
from inspire_fast.dialogue.questions.distance_fine import FineDistance
from inspire_fast.dialogue.questions.movement import Movement
from inspire_fast.dialogue.questions.point import Point
from inspire_fast.dialogue.questions.position_3d import Position3D
from inspire_fast.dialogue.questions.trace import Trace

KINDS = (Direction, Direction3D, Position3D, Distance, FineDistance, Point, Box, Trace, Movement)
QUESTIONS: Registry[Callable[..., Question]] = Registry(
    "question", {kind.name: partial(make_question, kind) for kind in KINDS}
)
