"""Live view of a policy server: a web page with cameras, answers and chunks. Off by default."""

from __future__ import annotations

from collections import OrderedDict
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

from inspire_fast.client.messages import answers_to_wire
from inspire_fast.core.html import data_uri
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import Robot
from inspire_fast.serving.steering import Steering

_SHOWN = 8  # connections on the page
_LATENCIES = 120
_FRESH_S = 0.1  # age up to which several viewers share one state
_LARGEST_PX = 336


@dataclass(frozen=True, kw_only=True)
class _Latest:
    """Last exchange of one connection."""

    observation: Mapping[str, Any]
    chunk: ActionChunk
    mode: str
    calls: int = 1
    at: float = field(default_factory=time.monotonic)
    latency_ms: tuple[float, ...] = ()


class LiveView:
    """Observer of a server that keeps the last exchange of each connection for the page.

    Args:
        robot: robot of the observations; the page shows its cameras.
        steering: takes clicks on the first camera's picture; an observer of the server, too. None takes none.
    """

    def __init__(self, robot: Robot, steering: Steering | None = None) -> None:
        self._robot, self.steering = robot, steering
        self._lock = threading.Lock()  # guards the attributes below
        self._latest: OrderedDict[str, _Latest] = OrderedDict()
        self._state: tuple[float, bytes] = (-1e9, b"")

    def record(self, session: str, observation: Mapping[str, Any], options: RequestOptions, chunk: ActionChunk) -> None:
        """Keeps an answered request. `state` encodes its images, so that nothing is encoded without a viewer."""
        with self._lock:
            before = self._latest.pop(session, None)
            calls, latencies = (1, ()) if before is None else (before.calls + 1, before.latency_ms[1 - _LATENCIES :])
            self._latest[session] = _Latest(
                observation=observation,
                chunk=chunk,
                mode=options.mode,
                calls=calls,
                latency_ms=(*latencies, sum(chunk.timing_ms.values())),
            )
            while len(self._latest) > _SHOWN:
                self._latest.popitem(last=False)

    def end(self, session: str) -> None:
        """Forgets a closed connection."""
        with self._lock:
            self._latest.pop(session, None)

    def close(self) -> None:
        """Has nothing to close."""

    def page(self) -> bytes:
        """HTML page that polls `/live/state`."""
        return resources.files("inspire_fast.serving").joinpath("live.html").read_bytes()

    def state(self) -> bytes:
        """JSON of all connections, most recent first. Takes milliseconds: an event loop should call it in a thread."""
        with self._lock:
            made, state = self._state
            if time.monotonic() - made < _FRESH_S:
                return state
            latest = list(reversed(self._latest.items()))
        now = time.monotonic()
        shown = [
            _shown(self._robot, session, one, now)
            | ({} if self.steering is None else {"steering": self.steering.described(session)})
            for session, one in latest
        ]
        state = json.dumps({"connections": shown}, allow_nan=False).encode()
        with self._lock:
            self._state = (now, state)
        return state


def _shown(robot: Robot, session: str, one: _Latest, now: float) -> dict[str, Any]:
    observation, chunk = one.observation, one.chunk
    try:
        images = {name: _jpeg(image) for name, image in robot.native_images(observation).items()}
    except ValueError:  # a policy without a robot may take any observation
        images = {}
    return {
        "connection": session[:8],
        "calls": one.calls,
        "age_s": now - one.at,
        "prompt": str(observation.get("prompt", "")),
        "mode": one.mode,
        "images": images,
        "answers": answers_to_wire(chunk),
        "status": str(chunk.status),
        "reason": chunk.reason,
        "actions": None if chunk.actions is None else np.asarray(chunk.actions, np.float64).round(5).tolist(),
        "timing_ms": dict(chunk.timing_ms),
        "latency_ms": one.latency_ms,
    }


def _jpeg(pixels: np.ndarray) -> str:
    """Image, uint8 `[h, w, 3]`, as a data URI."""
    image = Image.fromarray(pixels)
    image.thumbnail((_LARGEST_PX, _LARGEST_PX))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=80)
    return data_uri(encoded.getvalue(), "image/jpeg")
