"""Distractors: simple coloured shapes that the cameras see and the hand passes through.

They change the images alone, not the physics. LIBERO-PRO's suites have real additional objects.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from inspire_fast.envs.libero.disturbances.base import Active, Scene

_PER_SEVERITY = 2
_APART_M = 0.07  # from every object, so that no object is hidden inside a shape
_AROUND_M = 0.32  # from the middle of the objects


def distractors(scene: Scene) -> Active:
    """Draws boxes, balls and cans at the height of the lowest object's base."""
    environment, rng = scene.environment, scene.rng
    mujoco: Any = importlib.import_module("mujoco")
    shapes = (mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CYLINDER)
    bounds = [environment.bounds_m(name) for name in environment.movable]
    floor = min(low[2] for low, _ in bounds)
    others = [((low + high) / 2)[:2] for low, high in bounds]
    middle = np.mean(others, axis=0)
    things = []
    while len(things) < _PER_SEVERITY * scene.severity:
        place = middle + rng.uniform(-_AROUND_M, _AROUND_M, size=2)
        size = rng.uniform(0.015, 0.035, size=3)
        kind, colour = int(rng.integers(len(shapes))), np.array([*rng.uniform(0.1, 0.9, size=3), 1.0], np.float32)
        if all(np.linalg.norm(place - other) > _APART_M for other in others):
            height = size[0] if kind == 1 else size[2] if kind == 0 else size[1]
            things.append((shapes[kind], size, np.array([*place, floor + height]), colour))

    def decorate(drawn: Any) -> None:
        for shape, size, place, colour in things:
            mujoco.mjv_initGeom(drawn.geoms[drawn.ngeom], shape, size, place, np.eye(3).ravel(), colour)
            drawn.ngeom += 1

    cameras = environment.cameras()
    cameras.decorate = decorate
    return Active(undo=lambda: setattr(cameras, "decorate", None))
