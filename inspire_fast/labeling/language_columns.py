"""Facts in pictures from LeRobot's language columns: boxes and points that its annotation pipeline wrote.

`data.lerobot.language` has the layout. A label that the instruction has too, with or without an article ("cup", "the
cup"), is the instruction's phrase; others keep their own words. There are no offsets in metres, so that only questions
about the picture can be asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inspire_fast.core.ranges import Count, require_ranges
from inspire_fast.core.registry import require_choice
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.language import EVENTS, answers_of
from inspire_fast.labeling.columns import (
    Dialect,
    Places,
    box_of,
    fractions,
    middle_of,
    phrases_in,
    picture_of,
)
from inspire_fast.labeling.producer import Labeler, Labelled, Part, Producer
from inspire_fast.labeling.row_digests import EpisodeRows
from inspire_fast.robots import Robot

_ARTICLES = ("the ", "a ", "an ")


@dataclass(frozen=True, kw_only=True)
class LanguageColumns(Producer):
    """Boxes and points from the column `language_events`; its layout is in `data.lerobot.language`.

    Attributes:
        dialect: of the numbers. LeRobot means pixels of the dataset's pictures (`origin`); models that wrote them may
            have meant another one.
        resized_hw: height and width of the resized pictures of the dialect `smart_resize`.
        camera: canonical camera that the labels are about; None: the robot's first.
    """

    dialect: Dialect = "origin"
    resized_hw: tuple[Count, Count] | None = None
    camera: str | None = None

    def __post_init__(self) -> None:
        require_ranges(self)
        require_choice("dialect", self.dialect, Dialect)
        if (self.resized_hw is not None) != (self.dialect == "smart_resize"):
            raise ValueError(
                f"`resized_hw` belongs to the dialect 'smart_resize'; got {self.dialect!r} and {self.resized_hw}."
            )

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """Reads the column; answers about other cameras, and of other kinds, are left out.

        A phrase with several boxes or points in a frame is left out of that frame, and counted in the report.
        """
        camera, hw = picture_of(dataset, robot, self.camera)
        column = next(c for c, key in robot.columns.items() if robot.cameras.get(key) == camera)
        if EVENTS not in dataset.features:
            raise DatasetError(
                f"{dataset.root} has no column {EVENTS!r} of LeRobot's annotations; it has {sorted(dataset.features)}."
            )
        rows, size = EpisodeRows(dataset, [EVENTS]), self.resized_hw or hw

        def label(part: Part) -> Labelled:
            events, phrases = rows(part.episode)[EVENTS], phrases_in(part.instruction)
            scenes: list[SceneFacts | None] = []
            several = 0
            for frame in range(part.start, part.stop):
                try:
                    scene, left_out = self._scene(answers_of(events[frame], column), phrases, camera, size)
                except (ValueError, TypeError, KeyError) as error:
                    raise DatasetError(f"frame {frame}: {error}") from error
                scenes.append(scene)
                several += left_out
            labelled = sum(scene is not None for scene in scenes)
            return scenes, {"frames_labelled": labelled, "phrases_with_several_places": several}

        return Labeler(label=label)

    def _scene(
        self, answers: Sequence[Mapping[str, Any]], phrases: Sequence[str], camera: str, size: tuple[int, int]
    ) -> tuple[SceneFacts | None, int]:
        """A frame's facts, and the number of phrases with several places."""
        boxes = [one for answer in answers for one in self._boxes(answer, phrases, size)]
        points = [one for answer in answers for one in self._points(answer, phrases, size)]
        counts = [Counter(phrase for phrase, _ in found) for found in (boxes, points)]
        several = {phrase for count in counts for phrase, times in count.items() if times > 1}
        box_of_phrase = {phrase: box for phrase, box in boxes if phrase not in several}
        point_of_phrase = {phrase: point for phrase, point in points if phrase not in several}
        targets = tuple(
            _target(phrase, box_of_phrase.get(phrase), point_of_phrase.get(phrase))
            for phrase in dict.fromkeys([*box_of_phrase, *point_of_phrase])
        )
        return (SceneFacts(targets=targets, camera=camera) if targets else None), len(several)

    def _boxes(
        self, answer: Mapping[str, Any], phrases: Sequence[str], size: tuple[int, int]
    ) -> list[tuple[str, Places]]:
        found: list[tuple[str, Places]] = []
        for one in answer.get("detections", ()):
            what = f"the box of {one['label']!r}"
            _require_format(one, "bbox_format", "xyxy", what)
            corners = self._places(one["bbox"], 2, size, what)
            found.append((_phrase(one["label"], phrases), box_of(corners, what)))
        return found

    def _points(
        self, answer: Mapping[str, Any], phrases: Sequence[str], size: tuple[int, int]
    ) -> list[tuple[str, tuple[float, float]]]:
        if "point" not in answer:
            return []
        what = f"the point of {answer['label']!r}"
        _require_format(answer, "point_format", "xy", what)
        y, x = self._places(answer["point"], 1, size, what)[0].tolist()
        return [(_phrase(answer["label"], phrases), (y, x))]

    def _places(self, numbers: Any, count: int, size: tuple[int, int], what: str) -> np.ndarray:
        given = np.array(numbers, np.float64)
        if given.shape != (2 * count,):
            raise ValueError(f"{what} must be {2 * count} numbers; got {numbers!r:.80}")
        return fractions(given.reshape(count, 2), self.dialect, size, what)


def _require_format(one: Mapping[str, Any], key: str, wanted: str, what: str) -> None:
    if one.get(key, wanted) != wanted:
        raise ValueError(f"{what} has the {key} {one[key]!r}; expected {wanted!r}")


def _phrase(label: Any, phrases: Sequence[str]) -> str:
    """The instruction's phrase for a label, or the label."""
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"a label must be text; got {label!r}")
    text = " ".join(label.split())
    return next((phrase for phrase in phrases if _bare(phrase) == _bare(text)), text)


def _bare(phrase: str) -> str:
    text = phrase.lower()
    return next((text.removeprefix(article) for article in _ARTICLES if text.startswith(article)), text)


def _target(phrase: str, box: Places | None, point: tuple[float, float] | None) -> TargetFacts:
    middle = None if box is None else middle_of(box)
    return TargetFacts(phrase=phrase, offset_m=None, grasped=False, box_px=box, point_px=point or middle)
