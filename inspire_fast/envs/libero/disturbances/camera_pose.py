"""Disturbed camera poses: the front camera is moved and turned, the wrist camera is turned."""

from __future__ import annotations

import numpy as np

from inspire_fast.envs.libero.camera import VIEWS
from inspire_fast.envs.libero.disturbances.base import Active, Scene, restoring

_SHIFT_M = 0.012  # per severity, standard deviation along each axis
_TURN_RAD = np.deg2rad(0.7)


def camera_pose(scene: Scene) -> Active:
    """Moves the front camera, and turns both; the wrist camera is screwed to the hand and keeps its place."""
    model = scene.model
    undo = restoring(model.cam_pos, model.cam_quat)
    for view in VIEWS.values():
        camera = scene.environment.simulator.sim.model.camera_name2id(view)
        if view == "agentview":
            model.cam_pos[camera] += scene.severity * scene.rng.normal(scale=_SHIFT_M, size=3)
        turn = scene.severity * scene.rng.normal(scale=_TURN_RAD, size=3)
        model.cam_quat[camera] = _product(model.cam_quat[camera], _quaternion(turn))
    return Active(undo=undo)


def _quaternion(rotation_rad: np.ndarray) -> np.ndarray:
    """Axis times angle `[3]` -> w x y z."""
    angle = float(np.linalg.norm(rotation_rad))
    axis = rotation_rad / angle if angle else np.array([1.0, 0.0, 0.0])
    return np.array([np.cos(angle / 2), *(np.sin(angle / 2) * axis)])


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product, w x y z."""
    w = a[0] * b[0] - a[1:] @ b[1:]
    return np.array([w, *(a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:]))])
