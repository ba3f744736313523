"""Sensor noise: Gaussian noise on images and state."""

from __future__ import annotations

import numpy as np

from inspire_fast.envs.libero.camera import VIEWS
from inspire_fast.envs.libero.disturbances.base import Active, Native, Scene

_PIXEL, _STATE = 7.0, 0.002  # per severity: of 255; metres and radians


def sensor_noise(scene: Scene) -> Active:
    """Draws new noise for every observation."""
    rng, severity = scene.rng, scene.severity

    def see(native: Native) -> Native:
        noisy = dict(native)
        for key in VIEWS:
            grain = rng.normal(scale=severity * _PIXEL, size=native[key].shape)
            noisy[key] = np.clip(native[key] + grain, 0, 255).astype(np.uint8)
        state = native["observation/state"]
        noisy["observation/state"] = state + rng.normal(scale=severity * _STATE, size=state.shape)
        return noisy

    return Active(see=see)
