"""Rows of a recording: one request and its answer as a row of a LeRobot dataset.

| column | holds |
|---|---|
| `observation.images.<camera>` | the client's image, uint8 RGB; the camera is the last part of the native key |
| `observation.state` | the whole native state `[s]` |
| `action` | first action `[a]` of the chunk |
| `chunk`, `chunk_length` | the whole chunk, `[t * a]` row by row, and its number of answered rows |
| `status`, `reason` | `ok`, or `held` and why |
| `answers` | JSON list of `{"question", "target", "answer", "probability"}` |
| `options` | JSON of the `RequestOptions` that are not the default |
| `timing_ms` | JSON, phase -> milliseconds |
| `session`, `request` | connection, and number of its request: a missing number is a request that was not recorded |
| `time_s` | time of the answer, seconds since 1970 |

Filled-in values are marked: a held chunk has the robot's hold action in `action` and every row of `chunk`,
`chunk_length` 0 and status `held`; a chunk shorter than the horizon repeats its last row, and `chunk_length` tells its
real rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import json
from typing import Any

import numpy as np

from inspire_fast.client.messages import answers_to_wire, changed_options
from inspire_fast.core.nested import flatten_dict
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import Robot
from inspire_fast.robots.control.safety import hold_action

_TEXTS = ("status", "reason", "answers", "options", "timing_ms", "session")


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its answer; no code changes the arrays any more.

    Attributes:
        session: id of the connection.
        request: number of the request in its session.
        observation: native key -> array, and the prompt; see `FrameFormat.relevant`.
        options, chunk: see `Policy.infer`.
        time_s: time of the answer, seconds since 1970.
    """

    session: str
    request: int
    observation: Mapping[str, Any]
    options: RequestOptions
    chunk: ActionChunk
    time_s: float

    @property
    def nbytes(self) -> int:
        """Approximate size in memory."""
        return 1024 + nbytes(self.observation) + (0 if self.chunk.actions is None else self.chunk.actions.nbytes)


@dataclass(frozen=True, kw_only=True)
class FrameFormat:
    """Converts exchanges with the policy of one robot into rows.

    Attributes:
        robot: robot of the observations.
        horizon: number of rows of the column `chunk`.
        default_prompt: instruction of requests without one.
    """

    robot: Robot
    horizon: int
    default_prompt: str = ""

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1 action per chunk; got {self.horizon}.")

    def relevant(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """Cameras, state and prompt of an observation, without further entries.

        Raises:
            ValueError: a camera or the state is no array.
        """
        flat = flatten_dict(observation)
        keys = [key for key in (*self.robot.cameras, *self.robot.state_keys) if key in flat]
        prompt = {"prompt": flat["prompt"]} if isinstance(flat.get("prompt"), str) else {}
        return {**{key: np.asarray(flat[key]) for key in keys}, **prompt}

    def task(self, exchange: Exchange) -> str:
        """The instruction.

        Raises:
            ValueError: there is none, or a file cannot hold its characters.
        """
        prompt = exchange.observation.get("prompt", self.default_prompt)
        if not prompt:
            raise ValueError(
                f"there is no prompt to record as the task; the entries are {sorted(exchange.observation)}."
            )
        prompt.encode()  # a lone surrogate would make the whole dataset's list of tasks unreadable
        return prompt

    def row(self, exchange: Exchange) -> dict[str, Any]:
        """Column -> value.

        Raises:
            ValueError: the observation is not this robot's, or the chunk is longer than `horizon`.
        """
        robot, chunk = self.robot, exchange.chunk
        images = robot.native_images(exchange.observation)
        state = robot.native_state(exchange.observation)
        hold = hold_action(robot, None, state)
        actions = np.empty((0, robot.action_dim), np.float32) if chunk.actions is None else chunk.actions
        if actions.shape[1] != robot.action_dim or len(actions) > self.horizon:
            raise ValueError(
                f"A chunk of robot {robot.name!r} is [up to {self.horizon}, {robot.action_dim}]; got {actions.shape}."
            )
        last = actions[-1] if len(actions) else hold
        rows = np.concatenate([actions, np.tile(last, (self.horizon - len(actions), 1))]).astype(np.float32)
        return {
            **{_column(key): image for key, image in images.items()},
            "observation.state": state,
            "action": rows[0],
            "chunk": rows.ravel(),
            "chunk_length": len(actions),
            "status": str(chunk.status),
            "reason": chunk.reason,
            "answers": json.dumps(answers_to_wire(chunk)),
            "options": json.dumps(changed_options(exchange.options)),
            "timing_ms": json.dumps({name: float(ms) for name, ms in chunk.timing_ms.items()}),
            "session": exchange.session,
            "request": exchange.request,
            "time_s": exchange.time_s,
        }

    def features(self, row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """LeRobot features of the dataset for a row. They depend on cameras and image sizes only."""
        robot = self.robot
        images = {name: value for name, value in row.items() if name.startswith(_IMAGES)}
        return {
            **{name: {"dtype": "image", "shape": image.shape} for name, image in images.items()},
            "observation.state": {"dtype": "float32", "shape": (robot.state_dim,), "names": list(robot.state_names)},
            "action": {"dtype": "float32", "shape": (robot.action_dim,), "names": list(robot.action_names)},
            "chunk": {"dtype": "float32", "shape": (self.horizon * robot.action_dim,)},
            **{name: {"dtype": "string", "shape": (1,)} for name in _TEXTS},
            **{name: {"dtype": "int64", "shape": (1,)} for name in ("chunk_length", "request")},
            "time_s": {"dtype": "float64", "shape": (1,)},
        }


@dataclass(kw_only=True)
class OpenEpisode:
    """Unwritten rows of one session under one instruction.

    Attributes:
        task: instruction.
        mark: `RequestOptions.episode` of the requests.
        features: see `FrameFormat.features`.
        rows: one column -> value each.
        nbytes: size of all values.
    """

    task: str
    mark: str = ""
    features: Mapping[str, Mapping[str, Any]]
    rows: list[dict[str, Any]]
    nbytes: int

    def extend(self, later: OpenEpisode) -> bool:
        """Appends rows; returns False if they are of another episode or instruction, or have other columns."""
        if (self.task, self.mark, self.features) != (later.task, later.mark, later.features):
            return False
        self.rows += later.rows
        self.nbytes += later.nbytes
        return True

    def columns(self) -> dict[str, list[Any]]:
        """Column -> its values."""
        return {name: [row[name] for row in self.rows] for name in self.features}


def nbytes(values: Mapping[str, Any]) -> int:
    """Size of arrays and texts, plus 8 bytes for every other value."""
    sizes = (
        v.nbytes if isinstance(v, np.ndarray) else len(v.encode(errors="replace")) if isinstance(v, str) else 8
        for v in values.values()
    )
    return sum(sizes)


_IMAGES = "observation.images."


def _column(key: str) -> str:
    return _IMAGES + key.rpartition("/")[2]
