"""Producers of facts: the interface.

A producer is a frozen set of options. It is opened on a dataset and then labels one part of an episode after another:
the frames that share an instruction. The report lists what it refuses. Producers: `Hindsight` (gripper events),
`Annotations` (JSON lines), `ObjectInfo` (InSpire's label files), `Replay` (LIBERO's simulator), `RoboInter` and
`InternData` (label columns), `Traces` (a calibrated camera).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.meta import Episode
from inspire_fast.robots import Robot

Labelled = tuple[list[SceneFacts | None], dict[str, Any]]
"""A part's facts, one entry per frame (None: not labelled), and its entry of the report."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The frames `start .. stop - 1` of an episode, which have one instruction; most episodes are one part."""

    episode: Episode
    start: int
    stop: int
    instruction: str

    @property
    def frames(self) -> slice:
        """The part's frames within the episode."""
        return slice(self.start, self.stop)


@dataclass(frozen=True, kw_only=True)
class Labeler:
    """A producer that is opened on a dataset.

    Attributes:
        label: facts of a part.
        judged_by: what other episodes contribute to each episode's facts; labels of an interrupted run are only
            taken over if it is the same. Empty: nothing.
        close: frees what the producer holds open; called once, at the end.
    """

    label: Callable[[Part], Labelled]
    judged_by: str = ""
    close: Callable[[], None] = lambda: None


class Producer(Protocol):
    """Options of one source of facts."""

    def open(self, dataset: LeRobotDataset, robot: Robot) -> Labeler:
        """Reads what it needs of the dataset, and labels its parts from then on.

        Raises:
            DatasetError: the dataset or the robot lacks something that the producer needs.
        """
        ...

    def inputs(self, dataset: LeRobotDataset, episode: Episode) -> Sequence[Path]:
        """Files that an episode's facts are made from, apart from the dataset's and those named in the options."""
        del dataset, episode
        return ()


def frame_description(robot: Robot) -> str:
    """The frame of the facts' `offset_m`, in words."""
    axes = zip("xyz", (robot.axes.x, robot.axes.y, robot.axes.z), strict=True)
    return "world axes: " + ", ".join(f"+{axis} {positive}, -{axis} {negative}" for axis, (negative, positive) in axes)
