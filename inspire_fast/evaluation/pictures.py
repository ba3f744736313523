"""What a person sees of a rollout: both cameras, the instruction, each question and its answer next to the true one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inspire_fast.evaluation.records import AnswerRecord
from inspire_fast.robots import Robot

SIDE = 288  # of each camera picture, pixels
MARGIN = 10
LINE = 19
GREEN, RED, GREY, WHITE = (90, 200, 110), (235, 95, 85), (165, 165, 165), (235, 235, 235)


def upright(image: np.ndarray, orientation: str) -> np.ndarray:
    """The picture as a person standing there sees it: what is called "right" is on the right."""
    if orientation == "rotated_180":  # of an OpenGL frame: upright, but mirrored
        return image[:, ::-1]
    return image


def compose(
    observation: Mapping[str, object],
    robot: Robot,
    *,
    answers: Sequence[AnswerRecord],
    status: str,
    caption: str,
    questions: int,
) -> np.ndarray:
    """One frame, uint8 `[h, w, 3]` with even sizes; `questions` lines of text are reserved so that frames are equal."""
    cameras = [upright(np.asarray(observation[key]), robot.image_orientation) for key in robot.cameras]
    width = MARGIN + len(cameras) * (SIDE + MARGIN)
    height = MARGIN + SIDE + MARGIN + LINE * (2 + 2 * questions) + MARGIN
    frame = Image.new("RGB", (width + width % 2, height + height % 2), (24, 24, 28))
    draw = ImageDraw.Draw(frame)
    for n, (key, picture) in enumerate(zip(robot.cameras, cameras, strict=True)):
        place = (MARGIN + n * (SIDE + MARGIN), MARGIN)
        frame.paste(
            Image.fromarray(np.ascontiguousarray(picture)).resize((SIDE, SIDE), Image.Resampling.BICUBIC), place
        )
        draw.text(
            (place[0] + 5, place[1] + 4),
            key.rpartition("/")[2],
            fill=WHITE,
            font=_font(12),
            stroke_width=1,
            stroke_fill=(0, 0, 0),
        )
    y = MARGIN + SIDE + MARGIN
    draw.text((MARGIN, y), _fit(str(observation["prompt"]), width), fill=WHITE, font=_font(15))
    y += LINE
    draw.text((MARGIN, y), caption + ("" if status == "ok" else f"  [{status}]"), fill=GREY, font=_font(12))
    y += LINE
    for answer in answers[:questions]:
        draw.text((MARGIN, y), _fit(f"Where is {answer.target}?", width), fill=GREY, font=_font(13))
        y += LINE
        colour = {True: GREEN, False: RED, None: WHITE}[answer.right]
        truth = f"true: {answer.truth}" if answer.truth is not None else "truth unknown"
        text = f"   {answer.answer}  (p {answer.probability:.2f})   {truth}"
        draw.text((MARGIN, y), text, fill=colour, font=_font(14))
        y += LINE
    return np.asarray(frame)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _fit(text: str, width: int) -> str:
    limit = width // 8
    return text if len(text) <= limit else text[: limit - 1] + "…"
