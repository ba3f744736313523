"""Training samples of a recorded dataset: an observation, the chunk of actions after it, and the frame's facts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import copy
from dataclasses import dataclass, field, replace
import logging
from typing import Annotated, Any, Literal

import numpy as np

from inspire_fast.core.errors import OutOfRangeError
from inspire_fast.core.ranges import Natural, NotNegative, Range, require_ranges
from inspire_fast.core.types import Observation, Sample, SceneFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.check import clock, find_bad_episodes, refuse_bad_rows
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.frames import require_declared_size
from inspire_fast.data.robot_columns import (
    PICTURE,
    check_columns,
    check_labels,
    gripper_positions,
    is_of_pictures,
)
from inspire_fast.robots import Robot
from inspire_fast.robots.images import parse_image

Split = Literal["all", "train", "held_out"]
EndPadding = Literal["repeat_last", "drop"]
# Tolerance: ages are sums of float32 control periods.
_AGE_SLACK_S = 1e-4
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ChunkConfig:
    """The rows of a dataset that are samples, and the columns that their parts come from.

    Attributes:
        columns: dataset column -> native key of the robot's observation; empty: the robot's own.
        action_column: column of the actions; row r holds the action taken at row r. Empty: the robot's own.
        image_age_column: seconds since the row's images were taken; datasets without it have fresh images.
        max_image_age_s: rows with older images are not samples (they still serve as actions of earlier ones).
        end_padding: near an episode's end, `repeat_last` repeats its last action (openpi, LeRobot), `drop` leaves the
            rows out that have fewer than `horizon` actions to come.
        split: `train` or `held_out` episodes, or `all`.
        held_out_every: every k-th episode is held out, counted through the episodes in the order of their tasks:
            tasks are held out in proportion, and one with few episodes may have none.
        skip_bad_episodes: leave out episodes that cannot be trained on instead of refusing the dataset. They are logged
            and listed in `ChunkSource.skipped`. Images are not decoded for it: one that is damaged raises when its
            sample is read (`scripts/check_dataset.py --decode` finds those beforehand).
        exclude_episodes: leave these out, too.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    action_column: str = ""
    image_age_column: str = "image_age_s"
    max_image_age_s: NotNegative = 0.0
    end_padding: EndPadding = "repeat_last"
    split: Split = "all"
    held_out_every: Annotated[int, Range(2)] = 10
    skip_bad_episodes: bool = False
    exclude_episodes: Collection[Natural] = ()

    def __post_init__(self) -> None:
        require_ranges(self)
        if self.end_padding not in ("repeat_last", "drop") or self.split not in ("all", "train", "held_out"):
            raise ValueError(f"Unknown end_padding {self.end_padding!r} or split {self.split!r}.")


class ChunkSource:
    """Random-access sequence of `Sample`s; item i is one usable dataset row.

    Args:
        dataset: the recorded rows.
        facts: labels, or None to train without questions.
        robot: the embodiment; turns native observations into canonical ones.
        horizon: actions per chunk.
        config: rows and columns of the samples.
        motion: facts hold the gripper's coming motion (`SceneFacts.motion_m`), from its recorded position.

    Attributes:
        skipped: episode -> reason for leaving it out.
        acts: rows have states and actions. A dataset of single pictures has neither: its samples have no actions, and
            their states are zeros, which no script may read.

    Raises:
        DatasetError: a column is missing, dimensions are not the robot's, labels are of a robot whose frames have other
            words or of a camera that the robot lacks, a number is not finite, a state is one that the robot cannot be
            in, a frame lacks an instruction or has a wrong timestamp, or no row is left (an empty held-out split is
            allowed).
    """

    def __init__(
        self,
        dataset: LeRobotDataset,
        facts: FactsTable | None,
        *,
        robot: Robot,
        horizon: int,
        config: ChunkConfig = ChunkConfig(),
        motion: bool = False,
    ) -> None:
        config = config or ChunkConfig()
        if horizon < 1:
            raise ValueError(f"horizon must be >= 1; got {horizon}.")
        self.acts = not is_of_pictures(dataset.meta)
        self._columns = dict(config.columns or robot.columns) if self.acts else {PICTURE: next(iter(robot.cameras))}
        actions = [config.action_column or robot.action_column] if self.acts else []
        self._state_columns = check_columns(dataset, robot, self._columns, actions[0]) if self.acts else ()
        check_labels(dataset, facts, robot)
        facts = None if facts is None else facts.in_orientation(robot.image_orientation)
        if config.exclude_episodes:
            dataset = dataset.without(dict.fromkeys(config.exclude_episodes, "excluded by its number"))
        if config.skip_bad_episodes:
            dataset = _without_bad_episodes(dataset, [*self._columns, *actions])
        self.dataset, self.facts, self.robot, self.horizon = dataset, facts, robot, horizon
        self.skipped = dataset.skipped
        values = dataset.columns([*self._state_columns, *actions, "task_index", *clock(dataset, self._columns)])
        refuse_bad_rows(dataset, values)
        self._refuse_impossible_states(values)
        recorded = [values[column].reshape(len(dataset), -1) for column in actions]
        self._actions = robot.canonical_actions(recorded[0]) if recorded else None
        self._stops = np.concatenate([np.full(e.length, e.stop) for e in dataset.episodes])
        self._positions = gripper_positions(dataset, robot, self._state_columns) if motion else None
        self._choose_rows(config)

    def of_split(self, split: Split) -> ChunkSource:
        """The samples of another split of the same dataset; numbers and labels are shared, not read again."""
        other = copy.copy(self)
        other._choose_rows(replace(self._config, split=split))  # noqa: SLF001  (a copy of ours)
        return other

    def _choose_rows(self, config: ChunkConfig) -> None:
        self._config = config
        self._in_split = _in_split(self.dataset, config)
        self._rows = self._usable_rows(config)

    def _refuse_impossible_states(self, values: Mapping[str, np.ndarray]) -> None:
        parts = [values[c].reshape(len(self.dataset), -1) for c in self._state_columns]
        if not parts:
            return
        ends = np.stack([np.concatenate([end(part, axis=0) for part in parts]) for end in (np.min, np.max)])
        if not self.robot.impossible(ends).any():  # of angles on a circle, none is
            return
        states = np.concatenate(parts, axis=-1)
        for row in np.flatnonzero(self.robot.impossible(states).any(axis=-1)):
            episode, frame = self.dataset.locate(int(row))
            if episode.index not in self.skipped:
                raise DatasetError(
                    f"{self.dataset.root}, episode {episode.index}, frame {frame}: "
                    f"{self.robot.tell_impossible(states[row])} Convert the dataset, or leave single episodes out "
                    "with `--data.exclude-episodes`."
                )

    def _usable_rows(self, config: ChunkConfig) -> np.ndarray:
        """Numbers of the rows that are samples, ascending."""
        dataset, kept = self.dataset, self._in_split.copy()
        if config.end_padding == "drop":
            kept &= np.arange(len(dataset)) + self.horizon <= self._stops
        if (column := config.image_age_column) in dataset.features:
            kept &= dataset.columns([column])[column] <= config.max_image_age_s + _AGE_SLACK_S
        rows = np.flatnonzero(kept)
        if not len(rows) and config.split != "held_out":
            raise DatasetError(
                f"{dataset.root}: none of its {len(dataset)} rows ({len(dataset.episodes)} episodes) is a sample of "
                f"the split {config.split!r} with data.held_out_every={config.held_out_every}, "
                f"data.end_padding={config.end_padding!r}, data.horizon={self.horizon}, "
                f"data.max_image_age_s={config.max_image_age_s} and {len(self.skipped)} episodes skipped."
            )
        return rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: int) -> Sample:
        """Sample i, with decoded images.

        Raises:
            DatasetError: a damaged row; names file, episode and frame.
        """
        row = self._row(i)
        values = self.dataset.row(row, self._columns)
        self._require_sizes(i, values)
        native = {key: values[column] for column, key in self._columns.items()}
        try:
            observation = self._observation({**native, "prompt": values["task"]})
        except ValueError as error:
            episode, frame = self.location(i)
            raise DatasetError(f"{self.dataset.root}, episode {episode}, frame {frame}: {error}") from error
        return Sample(
            observation=observation,
            actions=None if self._actions is None else self._actions[self._chunk_rows(row)],
            facts=self.facts_of(i),
            robot=self.robot.name,
        )

    def _observation(self, native: Mapping[str, Any]) -> Observation:
        if self.acts:
            return self.robot.canonical(native)
        key, camera = next(iter(self.robot.cameras.items()))
        state = np.zeros(self.robot.state_dim, np.float32)
        return Observation(images={camera: parse_image(native[key], "hwc")}, state=state, prompt=native["prompt"])

    def facts_of(self, i: int) -> SceneFacts | None:
        """Facts of sample i; None without labels and without motion."""
        scene = None if self.facts is None else self.facts.facts(*self.location(i))
        if self._positions is None:
            return scene
        row = self._row(i)
        end = min(row + self.horizon, int(self._stops[row]) - 1)
        motion = self._positions[end] - self._positions[row]
        return replace(scene or SceneFacts(targets=()), motion_m=motion.astype(np.float32))

    def _require_sizes(self, i: int, values: Mapping[str, Any]) -> None:
        for column in self._columns:
            if (feature := self.dataset.feature(column)).visual:
                try:
                    require_declared_size(feature, values[column])
                except DatasetError as error:
                    episode, frame = self.location(i)
                    raise DatasetError(f"{self.dataset.root}, episode {episode}, frame {frame}: {error}") from error

    def location(self, i: int) -> tuple[int, int]:
        """Episode and frame of sample i."""
        episode, frame = self.dataset.locate(self._row(i))
        return episode.index, frame

    def states(self, part: slice = slice(None)) -> np.ndarray:
        """Canonical states of all samples or of a slice, float32 `[n, s]`, without reading images; pictures have 0."""
        rows, parts = self._rows[part], self.dataset.columns(list(self._state_columns))
        if not self.acts:
            return np.zeros((len(rows), self.robot.state_dim), np.float32)
        native = np.concatenate([parts[c][rows].reshape(len(rows), -1) for c in self._state_columns], axis=-1)
        return self.robot.state_map.to_canonical(native.astype(np.float32)).astype(np.float32)

    def chunks(self, part: slice = slice(None), dims: slice = slice(None)) -> np.ndarray:
        """Action chunks of all samples or of a slice, all dimensions or some, float32 `[n, t, a]`."""
        return self._recorded()[:, dims][self._chunk_rows(self._rows[part, None])]

    def actions(self) -> np.ndarray:
        """All actions of the split's episodes, float32 `[m, a]`, including rows that are not samples."""
        return self._recorded()[self._in_split]

    def _recorded(self) -> np.ndarray:
        if self._actions is None:
            raise DatasetError(f"{self.dataset.root} holds single pictures; there are no actions in it.")
        return self._actions

    def tasks(self) -> tuple[str, ...]:
        """The instructions of the samples, each once."""
        return self.task_numbers()[0]

    def task_numbers(self) -> tuple[tuple[str, ...], np.ndarray]:
        """The instructions of the samples, each once, and the place of each sample's instruction in them, int `[n]`."""
        indices = self.dataset.columns(["task_index"])["task_index"][self._rows]
        _, firsts, numbers = np.unique(indices, return_index=True, return_inverse=True)
        return tuple(self.dataset.task(int(self._rows[i])) for i in firsts), numbers

    def task(self, i: int) -> str:
        """The instruction of sample i."""
        return self.dataset.task(self._row(i))

    def labelled(self) -> np.ndarray:
        """Whether each sample has facts about a target, bool `[n]`."""
        labelled = np.zeros(len(self.dataset), bool)
        if self.facts is not None:
            labelled[self.facts.rows_with_targets()] = True
        return labelled[self._rows]

    def first_facts(self) -> dict[str, SceneFacts]:
        """Instruction -> the facts of its first sample with targets; without those that have none."""
        if self.facts is None:
            return {}
        rows = self._rows[self.labelled()]
        firsts = np.unique(self.dataset.columns(["task_index"])["task_index"][rows], return_index=True)[1]
        found: dict[str, SceneFacts] = {}
        for row in rows[np.sort(firsts)].tolist():
            episode, frame = self.dataset.locate(row)
            if scene := self.facts.facts(episode.index, frame):
                found.setdefault(self.dataset.task(row), scene)
        return found

    def _row(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise OutOfRangeError(f"Sample {i} of {len(self)}.")
        return int(self._rows[i])

    def _chunk_rows(self, rows: np.ndarray | int) -> np.ndarray:
        """Rows of the actions from `rows` on, `[..., t]`; past the episode's end, its last row."""
        return np.minimum(np.asarray(rows) + np.arange(self.horizon), self._stops[rows] - 1)


def _without_bad_episodes(dataset: LeRobotDataset, columns: Sequence[str]) -> LeRobotDataset:
    bad = find_bad_episodes(dataset, columns)
    for episode, reason in bad.items():
        _LOG.warning("%s: episode %d is skipped: %s", dataset.root, episode, reason)
    return dataset.without(bad)


def _in_split(dataset: LeRobotDataset, config: ChunkConfig) -> np.ndarray:
    """Whether each row belongs to the split, bool `[n]`; rows of skipped episodes belong to none."""
    # Every k-th episode in the order of tasks: even if tasks alternate in the dataset, each is held out in proportion.
    by_task = sorted(dataset.episodes, key=lambda e: (e.tasks, e.index))
    held_out = {e.index for e in by_task[config.held_out_every - 1 :: config.held_out_every]}
    wanted = {"all": (True, False), "train": (False,), "held_out": (True,)}[config.split]
    return np.concatenate(
        [
            np.full(e.length, (e.index in held_out) in wanted and e.index not in dataset.skipped)
            for e in dataset.episodes
        ]
    )
