"""Pictures come late: they show the scene of some control steps ago, while the state is of now."""

from __future__ import annotations

from collections import deque
import importlib
from typing import Any

from inspire_fast.envs.libero.disturbances.base import Active, Scene
from inspire_fast.envs.libero.observation_time import copy_of, show

_STEPS = 2  # per severity: 100 ms


def image_latency(scene: Scene) -> Active:
    """Keeps what a picture is made of, not pictures: nothing is rendered that nobody looks at."""
    environment = scene.environment
    mujoco: Any = importlib.import_module("mujoco")
    shown = mujoco.MjData(scene.model)
    past: deque[dict[str, Any]] = deque(maxlen=_STEPS * scene.severity + 1)
    past.append(copy_of(environment._seen()))

    def pictured() -> Any:
        show(shown, past[0])
        return shown

    return Active(stepped=lambda: past.append(copy_of(environment._seen())), pictured=pictured)
