"""Facts from an annotation file: JSON lines, one line per frame or span of frames.

The first line may name the dataset and the robot, which are then checked::

    {"dataset": {"total_episodes": 50, "total_frames": 5000, "sha256": "..."}, "robot": "libero"}

Every other line::

    {"episode": 3, "frame": 17, "targets": [{"phrase": "the can", "offset_m": [0.1, -0.2, -0.3], "grasped": false}]}
    {"episode": 3, "frames": [0, 40], "targets": [{"phrase": "the can", "position_m": [0.5, 0.1, 0.02]}]}

    {"episode": 3, "frame": 17, "camera": "base_0_rgb", "trace_px": [[0.4, 0.5], [0.3, 0.6]],
     "targets": [{"phrase": "the can", "box_px": [0.2, 0.1, 0.4, 0.3]}]}

`offset_m` is the point minus the gripper. `position_m` is the point itself, from which the gripper's recorded position
is subtracted, so that a thing at rest needs one line. Both are in metres along the robot's own axes. `frames` is half
open. `grasped` (default false) is optional.

Places in the picture are fractions 0..1 of its height and width, y first: `point_px` `[y, x]` and `box_px`
`[y0, x0, y1, x1]` of a target, `gripper_px` and `trace_px` (see `core.types.SceneFacts`) of the frame. With one of the
first two, the target needs no position. `camera` (default: the robot's first) and `quality` are of all places of the
frame; the header may state `"picture_hw": [480, 640]`, which is checked, too.

Another line about the same frame adds targets to it; an empty list of targets states that there are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import numbered_lines, read_text
from inspire_fast.core.types import SceneFacts, TargetFacts, require_box, require_trace
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import DatasetIdentity
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Meta
from inspire_fast.labeling.gripper_states import gripper_states
from inspire_fast.labeling.producer import Labeler, Labelled, Part, Producer
from inspire_fast.robots import Robot


@dataclass(frozen=True, kw_only=True)
class Annotations(Producer):
    """Facts from a file of JSON lines; its format is in the docstring of this module.

    Attributes:
        file: the annotations.
        state_column: column with the gripper's position, needed if the file gives positions and not offsets; None: the
            robot's.
        gripper: JSON file with the robot's gripper signal (see `grasp_events.load_signal`); None: the robot's own.
    """

    file: Path
    state_column: str | None = None
    gripper: Path | None = None

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """Reads the file once; a line that does not fit the dataset is refused at once."""
        lines = read_annotations(self.file, dataset.meta, robot.name)
        _check_pictures(self.file, lines, dataset, robot)
        known = self.gripper is not None or robot.gripper is not None
        read = gripper_states(dataset, robot, column=self.state_column, given=self.gripper) if known else None

        def label(part: Part) -> Labelled:
            episode = part.episode
            own = None if read is None else read[0].positions_m(read[1](episode))
            try:
                frames = annotated_facts(lines.get(episode.index, []), episode.length, own)
            except DatasetError as error:
                raise DatasetError(f"{self.file}, {error}") from error
            return frames[part.frames], {"lines": len(lines.get(episode.index, []))}

        return Labeler(label=label)


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One line of the file; `line` is its number, for errors, and `scene` are the fields of the frame's own places."""

    line: int
    episode: int
    start: int
    stop: int
    targets: tuple[Mapping[str, Any], ...]
    scene: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_annotations(path: Path, meta: Meta, robot: str) -> dict[int, list[Annotation]]:
    """Lines of each episode.

    Raises:
        DatasetError: no such file, a damaged line, an unknown episode or frame, or a header of another dataset or
            robot; names the file and the line.
    """
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; it must hold one JSON object per line.")
    lines: dict[int, list[Annotation]] = {}
    try:
        numbered = numbered_lines(read_text(path))
    except ValueError as error:
        raise DatasetError(str(error)) from error
    for number, text in numbered:
        try:
            entry: dict[str, Any] = json.loads(text)
            if "targets" in entry:
                annotation = _annotation(entry, number, meta)
                lines.setdefault(annotation.episode, []).append(annotation)
            elif number == 1:
                _check_header(entry, meta, robot)
            else:
                raise ValueError(f"no 'targets' in {sorted(entry)}")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DatasetError(f"{path}, line {number}: {error}") from error
    return lines


def annotated_facts(
    annotations: list[Annotation], length: int, gripper_m: np.ndarray | None
) -> list[SceneFacts | None]:
    """Facts per frame of one episode.

    Args:
        annotations: its lines.
        length: its frames.
        gripper_m: the gripper's positions `[n, 3]`, needed for `position_m` only.

    Raises:
        DatasetError: an invalid target; names line, episode and frame.
    """
    frames: list[dict[str, TargetFacts] | None] = [None] * length
    own: list[dict[str, Any]] = [{} for _ in range(length)]
    for annotation in annotations:
        for frame in range(annotation.start, annotation.stop):
            known = frames[frame] or {}
            if twice := sorted(
                name for name, value in annotation.scene.items() if own[frame].get(name, value) != value
            ):
                raise DatasetError(
                    f"line {annotation.line} (episode {annotation.episode}, frame {frame}): an earlier line states "
                    f"another {twice} of this frame"
                )
            own[frame] |= annotation.scene
            for target in annotation.targets:
                try:
                    facts = _target(target, None if gripper_m is None else gripper_m[frame])
                except (ValueError, TypeError, KeyError) as error:
                    raise DatasetError(
                        f"line {annotation.line} (episode {annotation.episode}, frame {frame}): {error}"
                    ) from error
                if facts.phrase in known:
                    raise DatasetError(
                        f"line {annotation.line} (episode {annotation.episode}, frame {frame}): {facts.phrase!r} has "
                        "facts in this frame already. A phrase names one thing; give another thing another phrase."
                    )
                known[facts.phrase] = facts
            frames[frame] = known
    return [
        None if known is None else SceneFacts(targets=tuple(known.values()), **_scene(fields))
        for known, fields in zip(frames, own, strict=True)
    ]


def _check_header(entry: Mapping[str, Any], meta: Meta, robot: str) -> None:
    if "dataset" in entry and not (stated := DatasetIdentity(**entry["dataset"])).is_of(meta):
        found = DatasetIdentity.of(meta)
        raise ValueError(f"these labels are of another dataset ({stated}) than the one at {meta.root} ({found})")
    if entry.get("robot", robot) != robot:
        raise ValueError(f"these labels are about robot {entry['robot']!r}, not {robot!r}")


def _check_integer(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name!r} must be a whole number; got {value!r}")


def _check_target(target: Any) -> None:
    """Checks the types of a target's fields; the text "false" would count as true."""
    if not isinstance(target, dict):
        raise ValueError(f"a target must be an object; got {target!r}")
    if not isinstance(target.get("phrase"), str) or not target["phrase"].strip():
        raise ValueError(f"a target's 'phrase' must be text that is not empty; got {target.get('phrase')!r}")
    if not isinstance(target.get("grasped", False), bool):
        raise ValueError(f"'grasped' must be true or false; got {target['grasped']!r}")
    for name, numbers in (("point_px", "y, x"), ("box_px", "y0, x0, y1, x1")):
        if target.get(name) is not None:
            _check_place(name, target[name], numbers)


def _check_place(name: str, place: Any, numbers: str) -> None:
    """Checks the types of a point's or box's numbers, and that they are fractions."""
    count = numbers.count(",") + 1
    if not (
        isinstance(place, list)
        and len(place) == count
        and all(isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1 for v in place)
    ):
        raise ValueError(f"{name!r} must be [{numbers}], each in 0..1; got {place!r}")
    if count == 4:
        require_box((place[0], place[1], place[2], place[3]), repr(name))


def _check_pictures(path: Path, lines: Mapping[int, list[Annotation]], dataset: LeRobotDataset, robot: Robot) -> None:
    """Checks that the places are of a camera of the robot, and of pictures of the dataset's size."""
    cameras = {robot.cameras[key]: column for column, key in robot.columns.items() if key in robot.cameras}
    for annotation in (annotation for each in lines.values() for annotation in each):
        camera = annotation.scene.get("camera", next(iter(robot.cameras.values())))
        if camera not in cameras:
            raise DatasetError(
                f"{path}, line {annotation.line}: camera {camera!r}; robot {robot.name!r} has {sorted(cameras)}."
            )
    stated = _stated_hw(path)
    for column in cameras.values():
        if stated is not None and column in dataset.features:
            shape = dataset.feature(column).shape
            if stated != (shape[0], shape[1]):
                raise DatasetError(
                    f"{path}, line 1: places in pictures of {stated} px (height, width); those of {column!r} in "
                    f"{dataset.root} have {(shape[0], shape[1])}."
                )


def _stated_hw(path: Path) -> tuple[int, ...] | None:
    """The size of pictures in the file's header, if there is one."""
    first = json.loads(next(iter(numbered_lines(read_text(path))), (1, "{}"))[1])
    return tuple(first["picture_hw"]) if "targets" not in first and "picture_hw" in first else None


def _annotation(entry: Mapping[str, Any], number: int, meta: Meta) -> Annotation:
    episode = entry["episode"]
    _check_integer("episode", episode)
    if not 0 <= episode < len(meta.episodes):
        raise ValueError(f"episode {episode}: {meta.root} has the episodes 0..{len(meta.episodes) - 1}")
    length = meta.episodes[episode].length
    single = "frames" not in entry
    start, stop = [entry["frame"]] * 2 if single else entry["frames"]
    for frame in (start, stop):
        _check_integer("frame" if single else "frames", frame)
    stop = stop + 1 if single else stop
    if not 0 <= start < stop <= length:
        raise ValueError(f"episode {episode}, frames {start}..{stop - 1}: the episode has the frames 0..{length - 1}")
    if not isinstance(entry["targets"], list):
        raise ValueError(f"'targets' must be a list; got {entry['targets']!r}")
    for target in entry["targets"]:
        _check_target(target)
    if "gripper_px" in entry:
        _check_place("gripper_px", entry["gripper_px"], "y, x")
    for point in entry.get("trace_px", ()):
        _check_place("trace_px", point, "y, x")
    scene = {name: entry[name] for name in ("gripper_px", "trace_px", "camera", "quality") if name in entry}
    _scene(scene)
    return Annotation(
        line=number, episode=episode, start=start, stop=stop, targets=tuple(entry["targets"]), scene=scene
    )


def _scene(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A frame's own places as fields of `SceneFacts`."""
    found = dict(fields)
    if "gripper_px" in found:
        found["gripper_px"] = tuple(map(float, found["gripper_px"]))
    if "trace_px" in found:
        found["trace_px"] = np.array(found["trace_px"], np.float32)
        require_trace(found["trace_px"], "'trace_px'")
    return found


def _target(target: Mapping[str, Any], gripper_m: np.ndarray | None) -> TargetFacts:
    if unknown := set(target) - {"phrase", "offset_m", "position_m", "grasped", "point_px", "box_px"}:
        raise ValueError(f"unknown fields {sorted(unknown)} of a target")
    stated = {"offset_m", "position_m"} & set(target)
    located = any(target.get(name) is not None for name in ("point_px", "box_px"))
    if len(stated) > 1 or not (stated or located):
        raise ValueError(
            f"a target needs either 'offset_m' or 'position_m', or a place in the picture; got {sorted(target)}"
        )
    if "offset_m" in target:
        offset_m = np.array(target["offset_m"], np.float32)
    elif "position_m" not in target:
        offset_m = None
    elif gripper_m is None:
        raise ValueError("'position_m' needs the gripper's position, and no dimensions of it are known for this robot")
    else:
        offset_m = (np.array(target["position_m"], np.float64) - gripper_m).astype(np.float32)
    point, box = target.get("point_px"), target.get("box_px")
    return TargetFacts(
        phrase=target["phrase"],
        offset_m=offset_m,
        grasped=bool(target.get("grasped", False)),
        point_px=None if point is None else (float(point[0]), float(point[1])),
        box_px=None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
    )
