"""Things that nobody asked for stand about.

They are drawn only: simple coloured shapes that the cameras see and the hand passes through, so that success depends on
the policy's eyes alone. Real additional objects are in LIBERO-PRO's suites.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from inspire_fast.envs.libero.disturbances.base import Active, Scene

_PER_SEVERITY = 2
_APART_M = 0.07  # from every object, so that nothing that matters is hidden inside
_AROUND_M = 0.32  # from the middle of the objects


def distractors(scene: Scene) -> Active:
    """Boxes, balls and cans on the height on which the lowest object stands."""
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

    def undo() -> None:
        if environment._cameras is not None:
            environment._cameras.decorate = None

    environment.cameras().decorate = decorate
    return Active(undo=undo)
