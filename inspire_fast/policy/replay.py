"""A policy without a model that replays recorded actions, to bring up a robot, its client and its cameras."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
import logging
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.episode import marked
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.robots import Robot
from inspire_fast.robots.control.identity import robot_metadata

logger = logging.getLogger(__name__)

ACTION_COLUMNS = ("actions", "action")
"""Of openpi's conversions, and LeRobot's."""


class ReplayPolicy:
    """Answers an episode's recorded actions chunk by chunk. Implements `inspire_fast.core.policy.Policy`.

    A request with an episode mark is answered by the mark alone: the chunk after those that the episode has received,
    whatever became of connections and servers in between. Without a mark every session has its own place and begins at
    the start. What the robot sees decides nothing, but it is checked as a model's policy checks it. After the last
    action the robot is held; it never starts anew by itself.

    Args:
        root: a LeRobot dataset.
        robot: whose actions they are, in its native units.
        episode: which one.
        horizon: actions per chunk; the episode's last chunk may be shorter.
        execute: how many of them the client executes before it asks again; None: all. The next chunk begins there.
        loop: begin anew after the last action. The robot jumps to where the episode began: only for motions that end
            there.
        action_column: None takes `actions` or `action`, whichever the dataset has.
        sessions: places remembered of requests without a mark; the longest unused is forgotten, and would begin anew.

    Raises:
        DatasetError: no dataset or column, actions of another robot, or NaN.
        IndexError: the dataset has no such episode.
        ValueError: `horizon` or `execute` makes no sense.
    """

    def __init__(
        self,
        root: Path,
        *,
        robot: Robot,
        episode: int = 0,
        horizon: int = 10,
        execute: int | None = None,
        loop: bool = False,
        action_column: str | None = None,
        sessions: int = 1024,
    ) -> None:
        execute = horizon if execute is None else execute
        if not 1 <= execute <= horizon:
            raise ValueError(f"execute must be 1 .. horizon = {horizon} actions of a chunk; got {execute}.")
        dataset = LeRobotDataset(root)
        recorded = dataset.episode(episode)
        self._actions = _recorded_actions(dataset, recorded.start, recorded.stop, robot, action_column)
        self._robot, self._horizon, self._execute, self._loop = robot, horizon, execute, loop
        self._name = f"{root}, episode {episode}"
        self._prompt = recorded.tasks[0] if recorded.tasks else ""
        self._chunks = -(-len(self._actions) // execute)
        self._calls: OrderedDict[str, int] = OrderedDict()  # of sessions without a mark
        self._sessions = sessions
        self._hz = dataset.fps
        if dataset.fps != robot.control_hz:
            logger.warning(
                "%s was recorded at %g Hz and robot %r is controlled at %g Hz: it moves %.3g times as fast as "
                "recorded.",
                root,
                dataset.fps,
                robot.name,
                robot.control_hz,
                robot.control_hz / dataset.fps,
            )

    def __len__(self) -> int:
        """Actions of the episode."""
        return len(self._actions)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Metadata of a model's policy, plus the episode (`replay`), its instruction (`prompt`), and `execute`."""
        robot = self._robot
        return {
            "replay": self._name,
            "prompt": self._prompt,
            **robot_metadata(robot),
            "control_hz": self._hz,
            "action_horizon": self._horizon,
            "execute": self._execute,
            "image_orientation": robot.image_orientation,
        }

    def infer(self, observation: Mapping[str, Any], options: RequestOptions | None = None) -> ActionChunk:
        """The session's next chunk; held after the episode's last action.

        Raises:
            ValueError: the observation does not meet the robot's contract, or answers were to be forced: there is no
                model to be steered by them. The session stays where it is.
        """
        options = marked(options, self.metadata)
        self._robot.canonical(observation)
        if options.mode == "force":
            raise ValueError(
                f"{self._name} is replayed: no model is there that answers could steer. Leave mode='force'."
            )
        calls = options.chunks if options.episode else self._calls.get(options.session, 0)
        if calls >= self._chunks and not self._loop:
            reason = (
                f"The replay of {self._name} is over after {len(self)} actions; begin another episode to repeat it "
                "(PolicyClient.reset, or connect again)."
            )
            return ActionChunk(actions=None, status=Status.HELD, reason=reason)
        if not options.episode:
            self._remember(options.session, calls + 1)
        place = calls % self._chunks * self._execute
        return ActionChunk(actions=self._actions[place : place + self._horizon].copy())

    def _remember(self, session: str, calls: int) -> None:
        self._calls[session] = calls
        self._calls.move_to_end(session)
        while len(self._calls) > self._sessions:
            self._calls.popitem(last=False)


def _recorded_actions(dataset: LeRobotDataset, start: int, stop: int, robot: Robot, column: str | None) -> np.ndarray:
    """Native actions `[t, a]` of an episode within the robot's limits, float32."""
    name = column or next((name for name in ACTION_COLUMNS if name in dataset.features), ACTION_COLUMNS[0])
    if (shape := dataset.feature(name).shape) != (robot.action_dim,):
        raise DatasetError(
            f"{dataset.root}: column {name!r} has shape {shape}; robot {robot.name!r} takes ({robot.action_dim},), "
            f"{', '.join(robot.action_names)}. Choose the robot that was recorded, or another action column."
        )
    actions = np.asarray(dataset.columns([name])[name][start:stop], np.float32)
    if not np.isfinite(actions).all():
        frame = int(np.argwhere(~np.isfinite(actions))[0][0])
        raise DatasetError(f"{dataset.root}: column {name!r} holds NaN or infinity at row {start + frame}.")
    limited = robot.limited(actions)
    if count := int((limited != robot.nearest_turn(actions).astype(np.float32)).any(axis=1).sum()):
        logger.warning(
            "%s: %d of %d actions are beyond the limits of robot %r and are replayed at them.",
            dataset.root,
            count,
            len(actions),
            robot.name,
        )
    return limited
