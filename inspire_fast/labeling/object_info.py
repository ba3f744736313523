"""Facts from the label files of InSpire's releases: one JSON file per frame, with an `object_info`.

There are two layouts:

- real robot, `episode_3/anno_w_pos/17.json`: `{"state": [...], "task": "...", "object_info": {"position": {"robot":
  [x, y, z], "the can": [...]}, "catch": {"the can": false}, ...}}`, positions in the arm's own unit, phrases as keys;
- LIBERO, `<id>.json`: `{"gripper_to_obj": {"akita_black_bowl_1_main": [x, y, z], ...}, "is_grasp":
  {"akita_black_bowl_1": false, ...}}` in metres, bodies as keys; the dataset's column `object_info` holds each frame's
  id as bytes.

Answers in the files are ignored: answers are computed from geometry on request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import read_text
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Episode
from inspire_fast.dialogue.grounding.targets import ground
from inspire_fast.dialogue.grounding.wording import normalized
from inspire_fast.envs.libero.target_table import table
from inspire_fast.envs.libero.targets import Target
from inspire_fast.labeling.gripper_states import gripper_states
from inspire_fast.labeling.producer import Labeler, Labelled, Part, Producer
from inspire_fast.labeling.row_digests import EpisodeRows
from inspire_fast.robots import Robot

ID_COLUMN = "object_info"
# Heights of targets above their bodies, metres, by the ending of the site's name; the files have bodies only.
# InSpire's release adds the same heights for the basket and the cabinets' tops, and 0.059 for the wine rack, half of
# the height of a bottle's place on it.
_HEIGHTS_M = {
    "top_side": 0.22152,
    "basket_1_contain_region": 0.07185,
    "wooden_tray_1_contain_region": 0.043,
    "left_contain_region": 0.066,
    "right_contain_region": 0.066,
    "back_contain_region": 0.086,
    "front_contain_region": 0.041,
    "cabinet_1_top_region": 0.18561,
    "cabinet_1_middle_region": 0.1169,
    "cabinet_1_bottom_region": 0.047,
    "shelf_1_top_region": 0.137,
    "wine_rack_1_top_region": 0.217,
    "heating_region": 0.096,
}


@dataclass(frozen=True, kw_only=True)
class ObjectInfo(Producer):
    """Facts from InSpire's label files; their layouts are in the docstring of this module.

    Attributes:
        folder: holds `episode_<n>/anno_w_pos/<frame>.json`, or `<id>.json` for the ids in the column `object_info`.
        state_column: column with the state, to detect labels of another episode (real robot's layout);
            None: the robot's.
        gripper: JSON file with the robot's gripper signal (see `grasp_events.load_signal`); None: the robot's own.
    """

    folder: Path
    state_column: str | None = None
    gripper: Path | None = None

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """Reads label files by id where the dataset has the column `object_info`, else by frame number."""
        if ID_COLUMN in dataset.features:
            rows = EpisodeRows(dataset, [ID_COLUMN])

            def by_id(part: Part) -> Labelled:
                values, told = rows(part.episode)[ID_COLUMN][part.frames], part.instruction
                files = [self.folder / f"{frame_id(value)}.json" for value in values]
                return [libero_facts(file, told) for file in files], {"refused": off_the_body(told)}

            return Labeler(label=by_id)
        signal, states = gripper_states(dataset, robot, column=self.state_column, given=self.gripper)
        unit = signal.metres_per_unit

        def by_frame(part: Part) -> Labelled:
            episode = part.episode
            folder = self._folder(episode)
            found = len(list(folder.glob("*.json")))
            if found != episode.length:
                raise DatasetError(
                    f"{folder} has {found} label files; the dataset's episode has {episode.length} frames."
                )
            files = [folder / f"{frame}.json" for frame in range(part.start, part.stop)]
            pairs = zip(files, states(episode)[part.frames], strict=True)
            return [real_robot_facts(file, state, unit, part.instruction) for file, state in pairs], {}

        return Labeler(label=by_frame)

    def inputs(self, dataset: LeRobotDataset, episode: Episode) -> Sequence[Path]:
        """The label files of the episode."""
        if ID_COLUMN in dataset.features:
            ids = dataset.columns([ID_COLUMN])[ID_COLUMN][episode.start : episode.stop]
            return [self.folder / f"{frame_id(value)}.json" for value in ids]
        return sorted(self._folder(episode).glob("*.json"))

    def _folder(self, episode: Episode) -> Path:
        return self.folder / f"episode_{episode.index}" / "anno_w_pos"


def read_json(path: Path) -> dict[str, Any]:
    """Reads one label file.

    Raises:
        DatasetError: missing or damaged; names it.
    """
    try:
        return json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as a label file: {error}") from error


def real_robot_facts(path: Path, state: np.ndarray, metres_per_unit: float, instruction: str) -> SceneFacts:
    """Facts of one frame in the real robot's layout: the instruction's targets in its order, then the file's others.

    Args:
        path: the frame's file.
        state: the dataset's row, compared with the file's to detect labels of another episode.
        metres_per_unit: of the file's positions.
        instruction: of the dataset's row.

    Raises:
        DatasetError: damaged, incomplete, NaN, or of another frame; names the file.
    """
    content = read_json(path)
    recorded = np.asarray(content.get("state", state), np.float64)
    if recorded.shape != np.shape(state) or not np.allclose(recorded, state, rtol=1e-5, atol=0.51):
        raise DatasetError(
            f"{path} labels another frame: its state is {recorded.tolist()}, the dataset's is {list(state)}."
        )
    try:
        info = content["object_info"]
        positions = {name: np.array(xyz, np.float64) * metres_per_unit for name, xyz in info["position"].items()}
        robot = positions.pop("robot")
        order = [phrase for phrase in _phrases(instruction) if phrase in positions]
        return SceneFacts(
            targets=tuple(
                TargetFacts(
                    phrase=phrase,
                    offset_m=(positions[phrase] - robot).astype(np.float32),
                    grasped=bool(info["catch"][phrase]),
                )
                for phrase in dict.fromkeys([*order, *positions])
            )
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: its object_info is incomplete or damaged: {error!r}") from error


def libero_facts(path: Path, instruction: str) -> SceneFacts | None:
    """Facts of one frame in the LIBERO layout, without the targets of `off_the_body`; None if no other is left.

    Raises:
        DatasetError: damaged, or no LIBERO task with this instruction has these bodies; names the file.
    """
    content = read_json(path)
    try:
        vectors, grasped = content["gripper_to_obj"], content["is_grasp"]
        for targets in _tasks(instruction):
            bodies = [_body(target, vectors) for target in targets]
            if all(bodies):
                pairs = [(t, body) for t, body in zip(targets, bodies, strict=True) if body and not any(t.offset_m)]
                known = tuple(_libero_target(t, vectors[body], grasped) for t, body in pairs)
                return SceneFacts(targets=known) if known else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path}: incomplete or damaged: {error!r}") from error
    wanted = [[target.body for target in targets] for targets in _tasks(instruction)]
    raise DatasetError(
        f"{path} has the bodies {sorted(vectors)}; {instruction!r} needs one of {wanted}. Is it of another task?"
    )


def off_the_body(instruction: str) -> dict[str, str]:
    """Phrases that the LIBERO layout cannot place (handles and buttons are off their bodies' origins) -> the reason."""
    reason = "its point is off the body's origin, and the label files do not give the body's rotation"
    return {t.phrase: reason for targets in _tasks(instruction) for t in targets if any(t.offset_m)}


def frame_id(value: Any) -> str:
    """The id in a row of the column `object_info`: text, or bytes as numbers, padded with zeros."""
    return value if isinstance(value, str) else bytes(np.asarray(value, np.uint8)).rstrip(b"\0").decode()


def _phrases(instruction: str) -> Sequence[str]:
    try:
        return ground(instruction)
    except ValueError:
        return ()


def _tasks(instruction: str) -> list[tuple[Target, ...]]:
    return [row.targets for row in table() if normalized(row.instruction) == normalized(instruction)]


def _body(target: Target, vectors: Mapping[str, Any]) -> str | None:
    return next((body for body in (target.body, f"{target.owner}_main") if body in vectors), None)


def _libero_target(target: Target, vector: Sequence[float], grasped: Mapping[str, bool]) -> TargetFacts:
    lift_m = next((h for ending, h in _HEIGHTS_M.items() if target.site and target.site.endswith(ending)), 0.0)
    return TargetFacts(
        phrase=target.phrase,
        offset_m=np.add(vector, (0.0, 0.0, lift_m)).astype(np.float32),
        grasped=bool(grasped.get(target.owner, False)),
    )
