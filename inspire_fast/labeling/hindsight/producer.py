"""Facts from gripper events and the instruction, for datasets without annotation."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path

from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Episode
from inspire_fast.labeling.hindsight.label import HindsightOptions, hindsight
from inspire_fast.labeling.hindsight.manipulations import load_overrides, parse_instruction
from inspire_fast.labeling.producer import Labeler, Labelled, Producer, episode_states, gripper_signal
from inspire_fast.robots import Robot


@dataclass(frozen=True, kw_only=True)
class Hindsight(Producer):
    """Facts from gripper events and the instruction.

    Attributes:
        state_column: column with the gripper's position and opening.
        overrides: JSON file with the meanings of instructions (see `manipulations.load_overrides`).
        closed_below: opening, as a fraction of the widest, below which the gripper counts as closed; None: the robot's.
        near_m: a point this close to the fingers has no certain direction and is left out (metres).
        end_is_release: an episode that ends with the gripper closed ends where the thing would be let go.
        end_is_contact: an episode that only handles something, without a grasp, ends in contact with it.
        gripper: JSON file with the robot's gripper signal (see `grasp_events.load_signal`); None: the robot's own.
    """

    state_column: str = "state"
    overrides: Path | None = None
    closed_below: float | None = None
    near_m: float = HindsightOptions.near_m
    end_is_release: bool = False
    end_is_contact: bool = False
    gripper: Path | None = None

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """Labels each episode from its own states and instruction."""
        signal = gripper_signal(robot, self.gripper)
        if self.closed_below is not None:
            above = max(signal.open_above, min(0.99, self.closed_below + 0.03))
            signal = dataclasses.replace(signal, closed_below=self.closed_below, open_above=above)
        states = episode_states(dataset, self.state_column, robot)
        overrides = load_overrides(self.overrides) if self.overrides else None
        options = HindsightOptions(
            near_m=self.near_m, end_is_release=self.end_is_release, end_is_contact=self.end_is_contact
        )

        def label(episode: Episode) -> Labelled:
            instruction = parse_instruction(dataset.task(episode.start), overrides)
            frames, report = hindsight(instruction, states(episode), fps=dataset.fps, signal=signal, options=options)
            return frames, asdict(report)

        return label
