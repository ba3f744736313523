"""Video frame of a rollout: the cameras, the instruction, each question with its answer and the true one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inspire_fast.data.drawing import GRIPPER_COLOUR, Mark, draw_marks, target_colour
from inspire_fast.data.picture_facts import unpadded
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
        marks = place_marks(answers, image.shape[:2], robot.image_orientation) if n == 0 else ()
        frame.paste(Image.fromarray(draw_marks(np.asarray(enlarged), marks)), place)
        label = key.rpartition("/")[2]
        draw.text(
            (place[0] + 5, place[1] + 4), label, fill=WHITE, font=_font(12), stroke_width=1, stroke_fill=(0, 0, 0)
        )
    page = _Page(draw, top=MARGIN + SIDE + MARGIN, width=width - 2 * MARGIN)
    page.write(str(observation["prompt"]), 15, WHITE)
    page.write(caption + ("" if status == "ok" else f"  [{status}]"), 12, GREY)
    for answer in answers[:questions]:
        truth = f"true: {_short(answer, answer.truth)}" if answer.truth is not None else "truth unknown"
        page.write(answer.asked, 13, GREY)
        colour = WHITE if answer.is_place else {True: GREEN, False: RED, None: WHITE}[answer.right]
        page.write(f"    {_short(answer, answer.answer)}  (p {answer.probability:.2f})   {truth}", 14, colour)
    return np.asarray(frame)


def place_marks(answers: Sequence[AnswerRecord], source_hw: tuple[int, int], orientation: str) -> list[Mark]:
    """Answers that are places, as broken lines, and their truths, as full ones, in the `upright` first camera.

    The model's picture is a square in which the camera's, `source_hw`, is padded.
    """
    side = max(source_hw)
    move, marks = unpadded(source_hw, (side, side)), []
    colours = {target: target_colour(n) for n, target in enumerate(dict.fromkeys(a.target for a in answers))}
    for answer in answers:
        colour = colours[answer.target] if answer.target else GRIPPER_COLOUR
        for text, own in ((answer.truth, False), (answer.answer, True)):
            place = None if text is None else answer.place(text)
            if place is None:
                continue
            points = move(place.reshape(-1, 2))
            seen = np.stack([points[:, 0], 1 - points[:, 1]], axis=1) if orientation == "rotated_180" else points
            marks.append(Mark(place=seen.reshape(place.shape), colour=colour, answer=own))
    return marks


def _short(answer: AnswerRecord, text: str) -> str:
    """Words as they are; of places the fractions, of a path its last point."""
    place = answer.place(text)
    if place is None:
        return text
    numbers = " ".join(f"{value:.2f}" for value in (place[-1] if place.ndim == 2 else place))
    return f"path to {numbers}" if place.ndim == 2 else numbers


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
