"""Image latency: images show the scene of some control steps ago, the state is the present one."""

from __future__ import annotations

from collections import deque
import importlib
from typing import Any

from inspire_fast.envs.libero.disturbances.base import Active, Scene
from inspire_fast.envs.libero.observation_time import copy_of, show

_STEPS = 2  # per severity: 100 ms


def image_latency(scene: Scene) -> Active:
    """Stores the data that an image is drawn from, not images, so that only requested images are rendered."""
    environment = scene.environment
    mujoco: Any = importlib.import_module("mujoco")
    shown = mujoco.MjData(scene.model)
    past: deque[dict[str, Any]] = deque(maxlen=_STEPS * scene.severity + 1)
    past.append(copy_of(environment.seen()))

    def drawn() -> Any:
        show(shown, past[0])
        return shown

    return Active(stepped=lambda: past.append(copy_of(environment.seen())), drawn=drawn)
