"""Disturbed lighting: lamps in other places, brighter or darker, and tinted."""

from __future__ import annotations

import numpy as np

from inspire_fast.envs.libero.disturbances.base import Active, Scene, restoring

_BRIGHTNESS, _COLOUR, _SHIFT_M = 0.18, 0.07, 0.5  # per severity


def lighting(scene: Scene) -> Active:
    """Scales and tints all lamps and the camera's light together, and moves each lamp."""
    model, rng, severity = scene.model, scene.rng, scene.severity
    headlight = model.vis.headlight
    undo = restoring(model.light_diffuse, model.light_pos, headlight.diffuse, headlight.ambient)
    # A factor and its inverse are as likely: 0.41 or 2.46 at severity 5.
    factor = np.exp(severity * _BRIGHTNESS * rng.choice([-1.0, 1.0]))
    tint = 1 + severity * _COLOUR * rng.uniform(-1, 1, size=3)
    model.light_diffuse[:] = np.clip(model.light_diffuse * factor * tint, 0, 2)
    model.light_pos[:] += severity * _SHIFT_M * rng.uniform(-1, 1, size=model.light_pos.shape)
    headlight.diffuse[:] = np.clip(headlight.diffuse * factor * tint, 0, 1)
    headlight.ambient[:] = np.clip(headlight.ambient * factor * tint, 0, 1)
    return Active(undo=undo)
