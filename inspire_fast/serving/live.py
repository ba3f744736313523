"""What a policy sees, says and does, as a web page beside the socket: `http://<server>/live`. Off unless asked for."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
import io
import json
import threading
import time
from typing import Any

import numpy as np
from PIL import Image

from inspire_fast.core.html import data_uri
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import Robot

_SHOWN = 8  # connections
_LATENCIES = 120
_FRESH_S = 0.1  # several viewers share one state
_LARGEST_PX = 336


@dataclass(kw_only=True)
class _Latest:
    """The last exchange of one connection; `observation` is None until there is one."""

    calls: int = 0
    observation: Mapping[str, Any] | None = None
    chunk: ActionChunk | None = None
    mode: str = ""
    at: float = 0.0
    latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))


class LiveView:
    """Keeps the last exchange of each connection, and makes of them what the page shows. An `Observer` of a server.

    Args:
        robot: whose observations they are; its cameras are shown.
    """

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._lock = threading.Lock()  # guards what follows
        self._latest: OrderedDict[str, _Latest] = OrderedDict()
        self._state: tuple[float, bytes] = (-1e9, b"")

    def record(self, session: str, observation: Mapping[str, Any], options: RequestOptions, chunk: ActionChunk) -> None:
        """See `Observer.record`. Pictures are encoded when somebody looks."""
        with self._lock:
            latest = self._latest.setdefault(session, _Latest())
            latest.calls += 1
            latest.observation, latest.chunk, latest.mode = observation, chunk, options.mode
            latest.at = time.monotonic()
            latest.latency_ms.append(sum(ms for ms in chunk.timing_ms.values()))
            self._latest.move_to_end(session)
            while len(self._latest) > _SHOWN:
                self._latest.popitem(last=False)

    def end(self, session: str) -> None:
        """See `Observer.end`."""
        with self._lock:
            self._latest.pop(session, None)

    def close(self) -> None:
        """See `Observer.close`."""

    def page(self) -> bytes:
        """The page: HTML that polls `/live/state`."""
        return resources.files("inspire_fast.serving").joinpath("live.html").read_bytes()

    def state(self) -> bytes:
        """JSON of all connections, newest first. Takes some milliseconds: an event loop calls it in a thread."""
        with self._lock:
            made, state = self._state
            if time.monotonic() - made < _FRESH_S:
                return state
            latest = [(session, one, list(one.latency_ms)) for session, one in reversed(self._latest.items())]
        now = time.monotonic()
        shown = [_shown(self._robot, session, one, latencies, now) for session, one, latencies in latest]
        state = json.dumps({"connections": shown}, allow_nan=False).encode()
        with self._lock:
            self._state = (now, state)
        return state


def _shown(robot: Robot, session: str, one: _Latest, latencies: list[float], now: float) -> dict[str, Any]:
    observation, chunk = one.observation, one.chunk
    assert observation is not None
    assert chunk is not None
    try:
        images = {name: _data_url(image) for name, image in robot.native_images(observation).items()}
    except ValueError:  # a policy that is no robot's may take what it likes
        images = {}
    return {
        "connection": session[:8],
        "calls": one.calls,
        "age_s": now - one.at,
        "prompt": str(observation.get("prompt", "")),
        "mode": one.mode,
        "images": images,
        "answers": [
            {"question": a.question, "target": a.target, "answer": a.answer, "probability": a.probability}
            for a in chunk.answers
        ],
        "status": str(chunk.status),
        "reason": chunk.reason,
        "actions": None if chunk.actions is None else np.asarray(chunk.actions, np.float64).round(5).tolist(),
        "timing_ms": dict(chunk.timing_ms),
        "latency_ms": latencies,
    }


def _data_url(picture: np.ndarray) -> str:
    """uint8 `[h, w, 3]` as a JPEG."""
    image = Image.fromarray(picture)
    image.thumbnail((_LARGEST_PX, _LARGEST_PX))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=80)
    return data_uri(encoded.getvalue(), "image/jpeg")
