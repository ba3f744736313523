"""Labels of a dataset as LeRobot's language columns: boxes, else a point, as questions and answers about a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import NO_ROBOT, FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.language import EVENTS, PERSISTENT, boxes_answer, exchange, point_answer
from inspire_fast.data.lerobot.meta import Episode as Place
from inspire_fast.data.lerobot.row_samples import require_rows_of
from inspire_fast.data.robot_columns import PICTURE
from inspire_fast.robots import ROBOTS


class LanguageFromFacts:
    """The language columns of a dataset's labels.

    Args:
        dataset: with labels of places in pictures.

    Raises:
        DatasetError: it has such columns already, its labels name no place in a picture, or they are of a robot whose
            pictures it lacks.
        DatasetNotFoundError: it has no labels.
    """

    def __init__(self, dataset: LeRobotDataset) -> None:
        if present := [name for name in (EVENTS, PERSISTENT) if name in dataset.features]:
            raise DatasetError(f"{dataset.root} has {present} already; copy it without writing its labels into them.")
        self._dataset, self._table = dataset, FactsTable.load(dataset.root)
        require_rows_of(dataset, self._table.made_from)
        if not self._table.in_pictures:
            raise DatasetError(f"The labels of {dataset.root} name no place in a picture; there is nothing to write.")
        self._columns = self._picture_columns()

    def of(self, place: Place) -> dict[str, np.ndarray]:
        """An episode's columns, lists of records `[n]`."""
        events = [self._events(self._table.facts(place.index, frame)) for frame in range(place.length)]
        return {PERSISTENT: _objects([[] for _ in events]), EVENTS: _objects(events)}

    def _events(self, scene: SceneFacts | None) -> list[dict[str, Any]]:
        """At most one question and its answer: LeRobot allows one per frame and camera."""
        if scene is None:
            return []
        column = self._columns[scene.camera]
        shape = self._dataset.feature(column).shape
        hw = (shape[0], shape[1])
        boxes = [(target.phrase, target.box_px) for target in scene.targets if target.box_px is not None]
        points = [(target.phrase, target.point_px) for target in scene.targets if target.point_px is not None]
        if boxes:
            asked = _listed([phrase for phrase, _ in boxes])
            question = f"What {'is the bounding box' if len(boxes) == 1 else 'are the bounding boxes'} of {asked}?"
            return exchange(question, boxes_answer(boxes, hw), column)
        return exchange(f"Where is {points[0][0]}?", point_answer(*points[0], hw), column) if points else []

    def _picture_columns(self) -> dict[str | None, str]:
        """Canonical camera (None: the first) -> the column of its pictures."""
        if self._table.robot == NO_ROBOT:
            return {None: PICTURE}
        if self._table.robot not in ROBOTS:
            raise DatasetError(f"The labels of {self._dataset.root} are of the unknown robot {self._table.robot!r}.")
        robot = ROBOTS[self._table.robot]
        found: dict[str | None, str] = {robot.cameras[k]: c for c, k in robot.columns.items() if k in robot.cameras}
        found[None] = found[next(iter(robot.cameras.values()))]
        if missing := [
            c for camera in self._table.cameras or {None} if (c := found[camera]) not in self._dataset.features
        ]:
            raise DatasetError(
                f"The labels of {self._dataset.root} are about the pictures {missing}; it has "
                f"{sorted(self._dataset.features)}."
            )
        return found


def _objects(values: Sequence[Any]) -> np.ndarray:
    return np.array([*values, None], dtype=object)[:-1]  # lists of equal length stay single values


def _listed(phrases: Sequence[str]) -> str:
    """`the bowl, the cup and the plate`."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
