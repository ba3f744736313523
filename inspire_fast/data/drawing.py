"""Drawing of points, boxes and traces into pictures: truth as a full line, an answer as a broken one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.picture_facts import PointMap

TARGET_COLOURS = ("#ff2d55", "#ffd60a", "#30d158", "#0a84ff", "#bf5af2")
GRIPPER_COLOUR = "#ff9f0a"
_DASH_PX = 6


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A place in a picture, as fractions of height and width.

    Attributes:
        place: a point `[2]` (y, x), a box `[4]` (y0, x0, y1, x1), or a path `[k, 2]`.
        colour: "#rrggbb".
        answer: drawn with broken lines, a point as a cross instead of a ring.
    """

    place: np.ndarray
    colour: str
    answer: bool = False


def draw_marks(image: np.ndarray, marks: Iterable[Mark], *, scale: int = 1) -> np.ndarray:
    """The image, uint8 `[h, w, 3]`, enlarged by a whole factor, with the marks on it.

    A path has a dot at each of its points and a larger one at its end.
    """
    size = image.shape[1] * scale, image.shape[0] * scale
    large = Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(large)
    for mark in marks:
        _draw(draw, mark, size)
    return np.asarray(large)


def marks_of(facts: SceneFacts) -> list[Mark]:
    """The facts in pictures as marks: each target's point and box in a colour of its own, the gripper and its path."""
    marks: list[Mark] = []
    for number, target in enumerate(facts.targets):
        places = [np.array(place) for place in (target.box_px, target.point_px) if place is not None]
        marks += [Mark(place=place, colour=target_colour(number)) for place in places]
    now = () if facts.gripper_px is None else (np.array(facts.gripper_px),)
    if facts.trace_px is not None:
        marks.append(Mark(place=np.stack([*now, *facts.trace_px]), colour=GRIPPER_COLOUR))
    return [*marks, *(Mark(place=place, colour=GRIPPER_COLOUR) for place in now)]


def target_colour(number: int) -> str:
    """Colour of the target with that number."""
    return TARGET_COLOURS[number % len(TARGET_COLOURS)]


def moved_mark(mark: Mark, move: PointMap) -> Mark:
    """The mark in a picture whose points went elsewhere; of a box, the corners may be swapped."""
    points = move(mark.place.reshape(-1, 2).astype(np.float64))
    return Mark(place=points.reshape(mark.place.shape), colour=mark.colour, answer=mark.answer)


def _draw(draw: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int]) -> None:
    points = [(float(x) * size[0], float(y) * size[1]) for y, x in mark.place.reshape(-1, 2)]
    thin, ring = max(min(size) // 220, 1), max(min(size) // 40, 3)
    if mark.place.shape == (4,):
        (x0, y0), (x1, y1) = points
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]  # in any order, also of a mirrored box
        _lines(draw, corners, mark, width=2 * thin)
    elif mark.place.ndim == 2:
        _lines(draw, points, mark, width=thin)
        for x, y in points:
            _ring(draw, x, y, max(ring // 3, 1), mark, thin)
        _ring(draw, *points[-1], max(2 * ring // 3, 2), mark, thin)
    elif mark.answer:
        (x, y), r = points[0], ring
        draw.line([(x - r, y - r), (x + r, y + r)], fill=mark.colour, width=2 * thin)
        draw.line([(x - r, y + r), (x + r, y - r)], fill=mark.colour, width=2 * thin)
    else:
        _ring(draw, *points[0], ring, mark, 2 * thin)


def _ring(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, mark: Mark, width: int) -> None:
    draw.ellipse([x - r, y - r, x + r, y + r], outline=mark.colour, width=width)


def _lines(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], mark: Mark, *, width: int) -> None:
    """Lines from point to point; broken ones for an answer."""
    for (x0, y0), (x1, y1) in pairwise(points):
        dashes = max(int(np.hypot(x1 - x0, y1 - y0) / _DASH_PX), 1) if mark.answer else 1
        for part in range(0, dashes, 2):
            ends = [part / dashes, min((part + 1) / dashes, 1.0)]
            draw.line([(x0 + at * (x1 - x0), y0 + at * (y1 - y0)) for at in ends], fill=mark.colour, width=width)
