"""Facts from gripper events and the instruction, for datasets without annotation."""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.labeling.gripper_states import States, gripper_states
from inspire_fast.labeling.gripper_use import GripperUse
from inspire_fast.labeling.hindsight.assignment import HindsightOptions
from inspire_fast.labeling.hindsight.label import hindsight
from inspire_fast.labeling.hindsight.manipulations import load_overrides, parse_instruction
from inspire_fast.labeling.producer import Labeler, Labelled, Part, Producer
from inspire_fast.robots import Robot
from inspire_fast.robots.gripper import GripperSignal

_FARTHEST_M = 10.0


@dataclass(frozen=True, kw_only=True)
class Hindsight(Producer):
    """Facts from gripper events and the instruction.

    Attributes:
        state_column: column with the gripper's position and opening; None: the columns that the robot names.
        overrides: JSON file with the meanings of instructions (see `manipulations.load_overrides`).
        closed_below: opening, as a fraction of the widest, below which the gripper counts as closed; None: the robot's.
        near_m: a point this close to the fingers has no certain direction and is left out (metres).
        end_is_release: an episode that ends with the gripper closed ends where the thing would be let go.
        end_is_contact: an episode that only handles something, without a grasp, ends in contact with it.
        begins_closed: episodes may begin with the gripper closed on what the instruction names first.
        in_word_order: several things of one clause ("both A and B") are gripped in the order of the words.
        gripper: JSON file with the robot's gripper signal (see `grasp_events.load_signal`); None: the robot's own.
    """

    state_column: str | None = None
    overrides: Path | None = None
    closed_below: float | None = None
    near_m: float = HindsightOptions.near_m
    end_is_release: bool = False
    end_is_contact: bool = False
    begins_closed: bool = False
    in_word_order: bool = False
    gripper: Path | None = None

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """Looks at the gripper in all episodes, then labels each part from its own states and instruction.

        Raises:
            DatasetError: no gripper signal, columns that do not fit it, positions that are not in metres, or a gripper
                that never opens.
        """
        signal, states = gripper_states(dataset, robot, column=self.state_column, given=self.gripper)
        if self.closed_below is not None:
            above = max(signal.open_above, min(0.99, self.closed_below + 0.03))
            signal = dataclasses.replace(signal, closed_below=self.closed_below, open_above=above)
        overrides = load_overrides(self.overrides) if self.overrides else None
        options = HindsightOptions(
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name in _ASSUMED}
        )
        use = GripperUse.of(_openings(dataset, signal, states), dataset.fps, signal)

        def label(part: Part) -> Labelled:
            instruction, rows = parse_instruction(part.instruction, overrides), states(part.episode)
            frames, report = hindsight(
                instruction, rows, fps=dataset.fps, signal=signal, options=options, use=use, frames=part.frames
            )
            return frames, asdict(report)

        return Labeler(label=label, judged_by=repr(use))


_ASSUMED = frozenset(f.name for f in dataclasses.fields(HindsightOptions))


def _openings(dataset: LeRobotDataset, signal: GripperSignal, states: States) -> Iterator[np.ndarray]:
    """The openings of all episodes that can be read, after a check that the positions can be metres."""
    for episode in sorted(dataset.episodes, key=lambda e: (str(e.data_path), e.file_row)):
        try:
            values = states(episode)
        except DatasetError:
            continue  # reported when it is labelled
        positions, openings = signal.positions_m(values), signal.openings(values)
        if not np.isfinite(positions).all() or not np.isfinite(openings).all():
            continue
        if np.abs(positions).max(initial=0.0) > _FARTHEST_M:
            frame = int(np.argmax(np.abs(positions).max(axis=1)))
            raise DatasetError(
                f"{dataset.root}, episode {episode.index}, frame {frame}: the gripper is at {positions[frame]} m, and "
                f"no arm reaches {_FARTHEST_M} m. Check the dimensions and `metres_per_unit` of the gripper's signal "
                "(`--gripper FILE`)."
            )
        yield openings
