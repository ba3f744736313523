"""LeRobot's language columns: lists of records per frame, `language_events` and `language_persistent` (LeRobot 0.6).

    language_events        role content style        camera tool_calls    on the frame at which they happen
    language_persistent    role content style timestamp camera tool_calls    the same on every frame of an episode

Answers about places have the style `vqa`, the picture's column as `camera`, and JSON as content: pixels, x first::

    user        What is the bounding box of the bowl?
    assistant   {"detections": [{"label": "the bowl", "bbox_format": "xyxy", "bbox": [124, 25, 176, 113]}]}
    assistant   {"label": "the bowl", "point_format": "xy", "point": [150, 70]}

A frame has at most one such question and one answer per camera.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from typing import Any

import numpy as np
import pyarrow as pa

EVENTS, PERSISTENT = "language_events", "language_persistent"
VQA = "vqa"
Box = tuple[float, float, float, float]
_ROLE, _TIME = pa.field("role", pa.string(), nullable=False), pa.field("timestamp", pa.float32(), nullable=False)
_SAID = [("content", pa.string()), ("style", pa.string())]
_REST = [("camera", pa.string()), ("tool_calls", pa.list_(pa.string()))]
TYPES: Mapping[str, pa.DataType] = {
    PERSISTENT: pa.list_(pa.struct([_ROLE, *_SAID, _TIME, *_REST])),
    EVENTS: pa.list_(pa.struct([_ROLE, *_SAID, *_REST])),
}
"""Column -> arrow type, for datasets that have none yet."""


def answers_of(rows: Any, camera: str) -> list[dict[str, Any]]:
    """The JSON answers about places in one camera's picture, of a frame's `language_events`.

    Answers of other kinds (counts, attributes, relations) are left out.

    Args:
        rows: the column's value; None or empty without events.
        camera: the picture's column.

    Raises:
        ValueError: an answer that is no JSON object.
    """
    found: list[dict[str, Any]] = []
    for row in rows or ():
        if (row.get("style"), row.get("role"), row.get("camera")) == (VQA, "assistant", camera):
            try:
                answer = json.loads(row.get("content") or "")
            except ValueError as error:
                raise ValueError(f"{EVENTS!r} has an answer that is no JSON: {row.get('content')!r:.120}") from error
            if not isinstance(answer, dict):
                raise ValueError(f"{EVENTS!r} has an answer that is no JSON object: {row['content']!r:.120}")
            if "detections" in answer or "point" in answer:
                found.append(answer)
    return found


def boxes_answer(boxes: Sequence[tuple[str, Box]], hw: tuple[int, int]) -> dict[str, Any]:
    """The answer with boxes `(phrase, (y0, x0, y1, x1))`, fractions of a picture of height and width `hw`."""
    found = [
        {"label": phrase, "bbox_format": "xyxy", "bbox": _pixels([(box[0], box[1]), (box[2], box[3])], hw)}
        for phrase, box in boxes
    ]
    return {"detections": found}


def point_answer(phrase: str, point: tuple[float, float], hw: tuple[int, int]) -> dict[str, Any]:
    """The answer with a point `(y, x)`, fractions of a picture of height and width `hw`."""
    return {"label": phrase, "point_format": "xy", "point": _pixels([point], hw)}


def exchange(question: str, answer: Mapping[str, Any], camera: str) -> list[dict[str, Any]]:
    """A question about a camera's picture and its answer as a frame's events."""
    said = (("user", question), ("assistant", json.dumps(answer, sort_keys=True)))
    return [
        {"role": role, "content": content, "style": VQA, "camera": camera, "tool_calls": None} for role, content in said
    ]


def _pixels(points: Sequence[tuple[float, float]], hw: tuple[int, int]) -> list[float]:
    """Points (y, x) as pixels x, y, x, y ..., to a hundredth."""
    return np.round((np.array(points) * hw)[:, ::-1], 2).ravel().tolist()
