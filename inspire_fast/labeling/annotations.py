"""Facts from an annotation file: JSON lines, one line per frame or span of frames.

The first line may name the dataset and the robot, which are then checked::

    {"dataset": {"total_episodes": 50, "total_frames": 5000, "sha256": "..."}, "robot": "libero"}

Every other line::

    {"episode": 3, "frame": 17, "targets": [{"phrase": "the can", "offset_m": [0.1, -0.2, -0.3], "grasped": false}]}
    {"episode": 3, "frames": [0, 40], "targets": [{"phrase": "the can", "position_m": [0.5, 0.1, 0.02]}]}

`offset_m` is the point minus the gripper. `position_m` is the point itself, from which the gripper's recorded position
is subtracted, so that a thing at rest needs one line. Both are in metres along the robot's own axes. `frames` is half
open. `grasped` (default false) and `point_px` (`[y, x]`, 0..1) are optional. Another line about the same frame adds
targets to it; an empty list of targets states that there are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import numbered_lines, read_text
from inspire_fast.core.types import SceneFacts, TargetFacts
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
    """One line of the file; `line` is its number, for errors."""

    line: int
    episode: int
    start: int
    stop: int
    targets: tuple[Mapping[str, Any], ...]


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
    for annotation in annotations:
        for frame in range(annotation.start, annotation.stop):
            known = frames[frame] or {}
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
    return [None if known is None else SceneFacts(targets=tuple(known.values())) for known in frames]


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
    point = target.get("point_px")
    if point is not None and not (
        isinstance(point, list)
        and len(point) == 2
        and all(isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1 for v in point)
    ):
        raise ValueError(f"'point_px' must be [y, x], each in 0..1; got {point!r}")


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
    return Annotation(line=number, episode=episode, start=start, stop=stop, targets=tuple(entry["targets"]))


def _target(target: Mapping[str, Any], gripper_m: np.ndarray | None) -> TargetFacts:
    if unknown := set(target) - {"phrase", "offset_m", "position_m", "grasped", "point_px"}:
        raise ValueError(f"unknown fields {sorted(unknown)} of a target")
    if ("offset_m" in target) == ("position_m" in target):
        raise ValueError(f"a target needs either 'offset_m' or 'position_m'; got {sorted(target)}")
    if "offset_m" in target:
        offset_m = np.array(target["offset_m"], np.float32)
    elif gripper_m is None:
        raise ValueError("'position_m' needs the gripper's position, and no dimensions of it are known for this robot")
    else:
        offset_m = (np.array(target["position_m"], np.float64) - gripper_m).astype(np.float32)
    point = target.get("point_px")
    return TargetFacts(
        phrase=target["phrase"],
        offset_m=offset_m,
        grasped=bool(target.get("grasped", False)),
        point_px=None if point is None else (float(point[0]), float(point[1])),
    )
