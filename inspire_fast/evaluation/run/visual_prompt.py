"""Visual prompting: the truth drawn into the picture that the policy sees, a baseline that needs no training.

A policy without questions is told where things are by marks in its picture, as in Point-VLA and TraceVLA; compared with
forced answers it shows what the words are worth. The first thing of the instruction is marked red, the second blue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from inspire_fast.core.types import SceneFacts
from inspire_fast.robots import Robot

VisualPrompt = Literal["none", "point", "box"]
COLOURS = ((255, 0, 0), (0, 0, 255), (0, 200, 0), (255, 200, 0))


def draw_marks(image: np.ndarray, facts: SceneFacts, kind: VisualPrompt) -> np.ndarray:
    """A copy of a picture with a mark on each thing that is seen in it.

    Args:
        image: uint8 `[h, w, 3]`.
        facts: about this picture.
        kind: `point` draws discs, `box` draws frames; as wide as a hundredth of the picture.
    """
    picture = Image.fromarray(image)
    pen, (width, height) = ImageDraw.Draw(picture), picture.size
    thick = max(1, round(width / 100))
    for target, colour in zip(facts.targets, COLOURS, strict=False):
        if kind == "box" and target.box_px is not None:
            y0, x0, y1, x1 = target.box_px
            corners = (x0 * width, y0 * height, x1 * width - 1, y1 * height - 1)
            pen.rectangle(corners, outline=colour, width=thick)
        elif kind == "point" and target.point_px is not None:
            y, x = target.point_px[0] * height, target.point_px[1] * width
            pen.ellipse((x - 2 * thick, y - 2 * thick, x + 2 * thick, y + 2 * thick), fill=colour)
    return np.asarray(picture)


def with_marks(
    observation: Mapping[str, Any], facts: SceneFacts | None, kind: VisualPrompt, robot: Robot
) -> Mapping[str, Any]:
    """A native observation whose picture is marked; the given one for `none`.

    Raises:
        ValueError: nothing is known about places in this robot's pictures, so that no mark could be drawn.
    """
    if kind == "none":
        return observation
    if facts is None or not facts.targets:
        raise ValueError(f"--visual-prompt {kind} draws the truth, and the simulator does not know this task's things.")
    canonical = facts.camera or next(iter(robot.cameras.values()))
    key = next((native for native, name in robot.cameras.items() if name == canonical), None)
    if key is None or key not in observation:
        raise ValueError(f"The truth is about the camera {canonical!r}, whose picture the policy is not sent.")
    return {**observation, key: draw_marks(np.asarray(observation[key]), facts, kind)}
