"""Video frame of a rollout: the cameras, the instruction, each question with its answer and the true one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inspire_fast.evaluation.records.records import AnswerRecord
from inspire_fast.robots import Robot

SIDE = 288  # height and width of each camera image, pixels
MARGIN = 10
LINE = 19
GREEN, RED, GREY, WHITE = (90, 200, 110), (235, 95, 85), (165, 165, 165), (235, 235, 235)


def upright(image: np.ndarray, orientation: str) -> np.ndarray:
    """The image as seen by a person next to the robot, whose right is on the image's right."""
    if orientation == "rotated_180":  # a rotated OpenGL frame is upright, but mirrored
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
    """One frame, uint8 `[h, w, 3]` with even sizes, and space for `questions` answers, so that all frames are equal."""
    cameras = {k: upright(v, robot.image_orientation) for k, v in robot.native_images(observation).items()}
    width = MARGIN + len(cameras) * (SIDE + MARGIN)
    height = MARGIN + SIDE + MARGIN + LINE * (4 + 3 * questions) + MARGIN
    frame = Image.new("RGB", (width + width % 2, height + height % 2), (24, 24, 28))
    draw = ImageDraw.Draw(frame)
    for n, (key, image) in enumerate(cameras.items()):
        place = (MARGIN + n * (SIDE + MARGIN), MARGIN)
        enlarged = Image.fromarray(np.ascontiguousarray(image)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        frame.paste(enlarged, place)
        label = key.rpartition("/")[2]
        draw.text(
            (place[0] + 5, place[1] + 4), label, fill=WHITE, font=_font(12), stroke_width=1, stroke_fill=(0, 0, 0)
        )
    page = _Page(draw, top=MARGIN + SIDE + MARGIN, width=width - 2 * MARGIN)
    page.write(str(observation["prompt"]), 15, WHITE)
    page.write(caption + ("" if status == "ok" else f"  [{status}]"), 12, GREY)
    for answer in answers[:questions]:
        truth = f"true: {answer.truth}" if answer.truth is not None else "truth unknown"
        page.write(answer.asked, 13, GREY)
        colour = {True: GREEN, False: RED, None: WHITE}[answer.right]
        page.write(f"    {answer.answer}  (p {answer.probability:.2f})   {truth}", 14, colour)
    return np.asarray(frame)


class _Page:
    """Lines of text, wrapped at the width."""

    def __init__(self, draw: ImageDraw.ImageDraw, *, top: int, width: int) -> None:
        self._draw, self._y, self._width = draw, top, width

    def write(self, text: str, size: int, colour: tuple[int, int, int]) -> None:
        font = _font(size)
        indent = text[: len(text) - len(text.lstrip())]
        lines = [indent]
        for word in text.split():
            longer = f"{lines[-1]} {word}" if lines[-1].strip() else indent + word
            if self._draw.textlength(longer, font=font) > self._width and lines[-1].strip():
                lines.append(indent + word)
            else:
                lines[-1] = longer
        for line in lines:
            self._draw.text((MARGIN, self._y), line, fill=colour, font=font)
            self._y += LINE


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
