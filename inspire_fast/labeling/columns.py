"""Facts in pictures from label columns of public LeRobot datasets: RoboInter's JSON texts, InternData's pickled arrays.

Neither has offsets in metres: `offset_m` is None, and only questions about the picture can be asked. The thing and the
place of the columns are the instruction's first and second phrase. A target's point is the middle of its box.

RoboInter-Data (`annotation.*`, JSON texts, x first; empty: not annotated)::

    object_box, placement_proposal, gripper_box    [[x, y], [x, y]]     top left, bottom right
    trace                                          [[x, y], ...]        ten future points
    Q_annotation.<name>                            "Primary", "Secondary" or ""

in one of three dialects: `origin` (pixels of the dataset's pictures), `llava` (0..1), `smart_resize` (pixels of
pictures resized to `resized_hw`).

InternData-M1 (`annotation.<view>.*`, pickled arrays, pixels, x first)::

    bbox2d_tight, bbox2d_loose        records semanticId, x_min, y_min, x_max, y_max, occlusionRatio
    bbox2d_tight_id2labels            JSON: {"3": {"class": "<uid>"}} or {"3": "<uid>"}
    tcp_2d_trace                      (11, 2): the base, then ten points on the gripper *now*; no future path
    annotation.pick_obj_uid, annotation.place_obj_uid
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
from typing import Any, Literal

import numpy as np

from inspire_fast.core.ranges import Count, Fraction, require_ranges
from inspire_fast.core.registry import require_choice
from inspire_fast.core.types import SceneFacts, TargetFacts, require_box
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.dialogue.grounding.targets import ground
from inspire_fast.labeling.gripper_states import gripper_states
from inspire_fast.labeling.pickled_arrays import load_array
from inspire_fast.labeling.producer import Labeler, Labelled, Part, Producer
from inspire_fast.labeling.row_digests import EpisodeRows
from inspire_fast.labeling.traces import POINTS, gripper_events, resampled, with_traces
from inspire_fast.robots import Robot

Dialect = Literal["origin", "llava", "smart_resize"]
Quality = Literal["Primary", "Secondary"]
Places = tuple[float, float, float, float]
_QUALITIES: tuple[str, ...] = ("Primary", "Secondary")  # the best first


@dataclass(frozen=True, kw_only=True)
class RoboInter(Producer):
    """Facts from RoboInter's columns; the layout is in the docstring of this module.

    Attributes:
        dialect: of the coordinates.
        resized_hw: height and width of the resized pictures of the dialect `smart_resize`.
        quality: the least that counts; labels without a quality are left out.
        camera: canonical camera that the labels are about; None: the robot's first.
        points: of a trace.
    """

    dialect: Dialect = "origin"
    resized_hw: tuple[Count, Count] | None = None
    quality: Quality = "Secondary"
    camera: str | None = None
    points: Count = POINTS

    def __post_init__(self) -> None:
        require_ranges(self)
        require_choice("dialect", self.dialect, Dialect)
        require_choice("quality", self.quality, Quality)
        if (self.resized_hw is not None) != (self.dialect == "smart_resize"):
            raise ValueError(
                f"`resized_hw` belongs to the dialect 'smart_resize'; got {self.dialect!r} and {self.resized_hw}."
            )

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """Reads the columns; those that the dataset lacks are not labelled."""
        camera, hw = picture_of(dataset, robot, self.camera)
        names = ("object_box", "placement_proposal", "gripper_box", "trace")
        columns = {name: f"annotation.{name}" for name in names if f"annotation.{name}" in dataset.features}
        qualities = {name: f"Q_annotation.{name}" for name in columns if f"Q_annotation.{name}" in dataset.features}
        if not columns:
            raise DatasetError(
                f"{dataset.root} has none of RoboInter's columns {[f'annotation.{n}' for n in names]}; it has "
                f"{sorted(dataset.features)}."
            )
        rows = EpisodeRows(dataset, [*columns.values(), *qualities.values()])
        size = self.resized_hw or hw

        def label(part: Part) -> Labelled:
            values, phrases = rows(part.episode), phrases_in(part.instruction)
            scenes: list[SceneFacts | None] = []
            for frame in range(part.start, part.stop):
                try:
                    told = {name: self._text(name, columns, qualities, values, frame) for name in columns}
                    kept = {name: text for name, (text, _) in told.items() if text}
                    worst = [quality for name, (_, quality) in told.items() if name in kept and quality]
                    scenes.append(
                        self._scene(kept, phrases, camera, hw, size, max(worst, key=_QUALITIES.index, default=None))
                    )
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise DatasetError(f"frame {frame}: {error}") from error
            return scenes, {"frames_labelled": sum(scene is not None for scene in scenes)}

        return Labeler(label=label)

    def _text(
        self,
        name: str,
        columns: Mapping[str, str],
        qualities: Mapping[str, str],
        values: Mapping[str, np.ndarray],
        frame: int,
    ) -> tuple[str, str | None]:
        """A label's JSON text, empty if its quality is too low, and the quality."""
        text = str(values[columns[name]][frame] or "")
        if name not in qualities:
            return text, None
        quality = str(values[qualities[name]][frame] or "")
        if quality and quality not in _QUALITIES:
            raise ValueError(f"{qualities[name]!r} is {quality!r}; expected one of {[*_QUALITIES, '']}")
        good = quality and _QUALITIES.index(quality) <= _QUALITIES.index(self.quality)
        return (text, quality) if good else ("", None)

    def _scene(
        self,
        texts: Mapping[str, str],
        phrases: Sequence[str],
        camera: str,
        hw: tuple[int, int],
        size: tuple[int, int],
        quality: str | None,
    ) -> SceneFacts | None:
        def places(name: str) -> np.ndarray | None:
            return self._places(texts[name], name, size) if name in texts else None

        boxes = {
            name: box_of(corners, name) for name in texts if name != "trace" and (corners := places(name)) is not None
        }
        pairs = zip(("object_box", "placement_proposal"), phrases, strict=False)
        targets = tuple(target_of_box(phrase, boxes[name]) for name, phrase in pairs if name in boxes)
        gripper = middle_of(boxes["gripper_box"]) if "gripper_box" in boxes else None
        path = places("trace")
        if path is None and gripper is None and not targets:
            return None
        begin = [] if gripper is None else [np.array([gripper])]
        trace = None if path is None else resampled(np.concatenate([*begin, path]), self.points, aspect=hw[1] / hw[0])
        return SceneFacts(targets=targets, gripper_px=gripper, trace_px=trace, camera=camera, quality=quality)

    def _places(self, text: str, name: str, size: tuple[int, int]) -> np.ndarray:
        try:
            given = np.array(json.loads(text), np.float64)
        except ValueError as error:
            raise ValueError(f"'annotation.{name}' is no JSON list of points [x, y]: {text!r:.80}") from error
        if given.ndim != 2 or given.shape[1] != 2 or not len(given):
            raise ValueError(f"'annotation.{name}' must be a list of points [x, y]; got {text!r:.80}")
        return fractions(given, self.dialect, size, f"'annotation.{name}'")


@dataclass(frozen=True, kw_only=True)
class InternData(Producer):
    """Facts from InternData-M1's columns; the layout is in the docstring of this module.

    Attributes:
        view: the word in `annotation.<view>.bbox2d_tight`.
        boxes: `tight` encloses the visible pixels, `loose` the whole thing.
        max_occlusion: share of a thing that may be hidden; more, and it has no place.
        camera: canonical camera of the view; None: the robot's first.
        points: of a trace.
    """

    view: str
    boxes: Literal["tight", "loose"] = "tight"
    max_occlusion: Fraction = 0.9
    camera: str | None = None
    points: Count = POINTS

    def __post_init__(self) -> None:
        require_ranges(self)
        require_choice("boxes", self.boxes, Literal["tight", "loose"])

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """Reads the columns. The path of the gripper is put together from its places in the coming frames."""
        camera, hw = picture_of(dataset, robot, self.camera)
        box, path = f"annotation.{self.view}.bbox2d_{self.boxes}", f"annotation.{self.view}.tcp_2d_trace"
        names = [box, f"{box}_id2labels", path, "annotation.pick_obj_uid", "annotation.place_obj_uid"]
        if missing := [name for name in names if name not in dataset.features]:
            raise DatasetError(
                f"{dataset.root} lacks InternData's columns {missing}; it has {sorted(dataset.features)}."
            )
        rows = EpisodeRows(dataset, names)
        signal, states = gripper_states(dataset, robot) if robot.gripper is not None else (None, None)

        def label(part: Part) -> Labelled:
            values, phrases, scenes = rows(part.episode), phrases_in(part.instruction), []
            for frame in range(part.episode.length):
                try:
                    scenes.append(self._scene([values[name][frame] for name in names], phrases, camera, hw))
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise DatasetError(f"frame {frame}: {error}") from error
            opening = None if signal is None or states is None else signal.openings(states(part.episode))
            events = () if opening is None or signal is None else gripper_events(opening, dataset.meta.fps, signal)
            traced = with_traces(scenes, events, points=self.points, aspect=hw[1] / hw[0])
            return traced[part.frames], {"events": list(events)}

        return Labeler(label=label)

    def _scene(self, values: Sequence[Any], phrases: Sequence[str], camera: str, hw: tuple[int, int]) -> SceneFacts:
        boxes, labels, now, *wanted = values
        records, uids = load_array(bytes(boxes)), _uids(labels)
        if not {"semanticId", "x_min", "y_min", "x_max", "y_max", "occlusionRatio"} <= {*(records.dtype.names or ())}:
            raise ValueError(f"'bbox2d_{self.boxes}' has the fields {records.dtype.names}, not InternData's")
        found = {uids.get(str(record["semanticId"])): record for record in records.ravel()}
        targets = []
        for uid, phrase in zip(map(str, wanted), phrases, strict=False):
            record = found.get(uid) if uid else None
            if record is not None and float(record["occlusionRatio"]) <= self.max_occlusion:
                corners = np.array([[record["x_min"], record["y_min"]], [record["x_max"], record["y_max"]]], np.float64)
                place = fractions(corners, "origin", hw, f"the box of {uid!r}")
                targets.append(target_of_box(phrase, box_of(place, f"the box of {uid!r}")))
        points = load_array(bytes(now))
        if points.shape != (11, 2):
            raise ValueError(f"'tcp_2d_trace' must have the shape (11, 2); got {points.shape}")
        x, y = points[1:].mean(axis=0).tolist()
        inside = 0 <= x <= hw[1] and 0 <= y <= hw[0]
        return SceneFacts(targets=tuple(targets), gripper_px=(y / hw[0], x / hw[1]) if inside else None, camera=camera)


def picture_of(dataset: LeRobotDataset, robot: Robot, camera: str | None) -> tuple[str, tuple[int, int]]:
    """A canonical camera of the robot (None: its first), and height and width of its pictures in the dataset.

    Raises:
        DatasetError: the robot lacks the camera, or the dataset its pictures.
    """
    columns = {robot.cameras[key]: column for column, key in robot.columns.items() if key in robot.cameras}
    wanted = camera or next(iter(robot.cameras.values()))
    if wanted not in columns:
        raise DatasetError(f"Robot {robot.name!r} has no camera {wanted!r}; it has {sorted(columns)}.")
    shape = dataset.feature(columns[wanted]).shape
    return wanted, (shape[0], shape[1])


def fractions(points: np.ndarray, dialect: Dialect, hw: tuple[int, int], what: str) -> np.ndarray:
    """Points `[n, 2]`, (x, y), of a dialect -> (y, x), fractions 0..1.

    Args:
        points: as stored.
        dialect: `llava`: fractions; `origin` and `smart_resize`: pixels of a picture of the size `hw`.
        hw: height and width.
        what: begins the error message.

    Raises:
        ValueError: a point outside of the picture, or numbers that look like those of another dialect.
    """
    limits = np.ones(2) if dialect == "llava" else np.array(hw[::-1], np.float64)
    if not ((points >= 0) & (points <= limits)).all():
        first = points[~((points >= 0) & (points <= limits)).all(axis=1)][0].tolist()
        raise ValueError(
            f"{what} has the point {first}, outside of the picture (x 0..{limits[0]:g}, y 0..{limits[1]:g} in the "
            f"dialect {dialect!r}). Is the dialect another, or the picture resized?"
        )
    if dialect != "llava" and (points <= 1).all() and (points % 1 != 0).any():
        raise ValueError(
            f"{what} is {points[0].tolist()} at first, which look like fractions, not like pixels of the dialect "
            f"{dialect!r}. Is the dialect 'llava'?"
        )
    return (points / limits)[:, ::-1]


def box_of(corners: np.ndarray, what: str) -> Places:
    """The box of two corners `[2, 2]`, (y, x).

    Raises:
        ValueError: another number of corners, or swapped ones; says of what.
    """
    if corners.shape != (2, 2):
        raise ValueError(f"{what} must be two corners [[x, y], [x, y]]; got {len(corners)} points")
    y0, x0, y1, x1 = corners.ravel().tolist()
    require_box((y0, x0, y1, x1), what)
    return y0, x0, y1, x1


def middle_of(box: Places) -> tuple[float, float]:
    """The point (y, x) in the middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def target_of_box(phrase: str, box: Places) -> TargetFacts:
    """Facts about a target of which a source knows the box alone."""
    return TargetFacts(phrase=phrase, offset_m=None, grasped=False, box_px=box, point_px=middle_of(box))


def phrases_in(instruction: str) -> Sequence[str]:
    """Phrases of the instruction; none if the grammar refuses it: then it has a path only."""
    try:
        return ground(instruction)
    except ValueError:
        return ()


def _uids(labels: Any) -> dict[str, str]:
    """Semantic id -> uid, from JSON text."""
    stored = json.loads(labels if isinstance(labels, str) else bytes(labels).decode())
    return {str(key): str(value["class"] if isinstance(value, dict) else value) for key, value in stored.items()}
