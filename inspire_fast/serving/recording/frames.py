"""One request and its answer as a row of a LeRobot dataset.

| column | holds |
|---|---|
| `observation.images.<camera>` | the picture as the client sent it, uint8 RGB; the camera is the native key's last part |
| `observation.state` | the whole native state `[s]` |
| `action` | the chunk's first action `[a]`; what the robot shall do next |
| `chunk`, `chunk_length` | the whole chunk, `[t * a]` row by row, and how many of its rows were answered |
| `status`, `reason` | `ok`, or `held` and why |
| `answers` | JSON list of `{"question", "target", "answer", "probability"}` |
| `options` | JSON of the `RequestOptions` that are not the default |
| `timing_ms` | JSON, phase -> milliseconds |
| `session`, `request` | whose, and its how manyth request: a number left out is a request that was not recorded |
| `time_s` | when it was answered, seconds since 1970 |

No number is made up in silence: of a held chunk, `action` and every row of `chunk` are the robot's hold action, `chunk_length`
is 0, and `status` says `held`; behind the last row of a short chunk stands that row again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
import json
from typing import Any

import numpy as np

from inspire_fast.core.nested import flatten_dict
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import Robot
from inspire_fast.robots.control.safety import hold_action

_TEXTS = ("status", "reason", "answers", "options", "timing_ms", "session")


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What was asked and what was answered; the arrays are not changed by anyone any more.

    Attributes:
        session: of the connection.
        request: counts the session's.
        observation: native key -> array, and the prompt; see `FrameFormat.relevant`.
        options, chunk: see `Policy.infer`.
        time_s: when it was answered, seconds since 1970.
    """

    session: str
    request: int
    observation: Mapping[str, Any]
    options: RequestOptions
    chunk: ActionChunk
    time_s: float

    @property
    def nbytes(self) -> int:
        """Memory that it keeps, about."""
        return 1024 + nbytes(self.observation) + (0 if self.chunk.actions is None else self.chunk.actions.nbytes)


@dataclass(frozen=True, kw_only=True)
class FrameFormat:
    """Turns exchanges with the policy of one robot into rows.

    Attributes:
        robot: whose observations they are.
        horizon: rows that `chunk` has room for.
        default_prompt: the instruction of requests that bring none.
    """

    robot: Robot
    horizon: int
    default_prompt: str = ""

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1 action per chunk; got {self.horizon}.")

    def relevant(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """Cameras, state and prompt, without whatever else a client sent.

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
            ValueError: there is none, or it is no text that a file can hold.
        """
        prompt = exchange.observation.get("prompt", self.default_prompt)
        if not prompt:
            raise ValueError(f"there is no prompt to record as the task; there is {sorted(exchange.observation)}.")
        prompt.encode()  # half a surrogate pair would spoil the whole dataset's list of tasks
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
            "answers": json.dumps([{**asdict(a), "probability": float(a.probability)} for a in chunk.answers]),
            "options": json.dumps(_given(exchange.options)),
            "timing_ms": json.dumps({name: float(ms) for name, ms in chunk.timing_ms.items()}),
            "session": exchange.session,
            "request": exchange.request,
            "time_s": exchange.time_s,
        }

    def features(self, row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """LeRobot's features of the dataset that a row belongs to; they differ by cameras and picture sizes alone."""
        robot = self.robot
        pictures = {name: value for name, value in row.items() if name.startswith(_IMAGES)}
        return {
            **{name: {"dtype": "image", "shape": picture.shape} for name, picture in pictures.items()},
            "observation.state": {"dtype": "float32", "shape": (robot.state_dim,), "names": list(robot.state_names)},
            "action": {"dtype": "float32", "shape": (robot.action_dim,), "names": list(robot.action_names)},
            "chunk": {"dtype": "float32", "shape": (self.horizon * robot.action_dim,)},
            **{name: {"dtype": "string", "shape": (1,)} for name in _TEXTS},
            **{name: {"dtype": "int64", "shape": (1,)} for name in ("chunk_length", "request")},
            "time_s": {"dtype": "float64", "shape": (1,)},
        }


@dataclass(kw_only=True)
class OpenEpisode:
    """Rows of one session under one instruction, before they are written.

    Attributes:
        task: the instruction.
        features: see `FrameFormat.features`.
        rows: column -> value each.
        nbytes: of all values.
    """

    task: str
    features: Mapping[str, Mapping[str, Any]]
    rows: list[dict[str, Any]]
    nbytes: int

    def extend(self, later: OpenEpisode) -> bool:
        """Appends the rows of a later part; False where that has another instruction or other columns."""
        if (self.task, self.features) != (later.task, later.features):
            return False
        self.rows += later.rows
        self.nbytes += later.nbytes
        return True

    def columns(self) -> dict[str, list[Any]]:
        """Column -> its values."""
        return {name: [row[name] for row in self.rows] for name in self.features}


def nbytes(values: Mapping[str, Any]) -> int:
    """Bytes of arrays and texts; 8 for every other value."""
    sizes = (
        v.nbytes if isinstance(v, np.ndarray) else len(v.encode(errors="replace")) if isinstance(v, str) else 8
        for v in values.values()
    )
    return sum(sizes)


_IMAGES = "observation.images."


def _column(key: str) -> str:
    return _IMAGES + key.rpartition("/")[2]


def _given(options: RequestOptions) -> dict[str, Any]:
    default = RequestOptions()
    names = [f.name for f in fields(options) if getattr(options, f.name) != getattr(default, f.name)]
    return {name: _plain(getattr(options, name)) for name in names}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
