"""Facts about targets, read from the simulator's state without changing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.envs.libero.camera import VIEWS, project
from inspire_fast.envs.libero.targets import Target
from inspire_fast.robots.libero import LIBERO


def point_m(sim: Any, target: Target) -> np.ndarray:
    """World position `[3]`, metres, of a target: a site's centre, or a point fixed to a body."""
    data = sim.data
    if target.site is not None:
        return np.array(data.get_site_xpos(target.site))
    axes = np.reshape(data.get_body_xmat(target.body), (3, 3))
    return np.array(data.get_body_xpos(target.body)) + axes @ np.array(target.offset_m)


def scene_facts(
    sim: Any, pairs: Sequence[tuple[Target, bool]], eef_site: int, camera_hw: tuple[int, int]
) -> SceneFacts:
    """Vectors from the gripper to each target along the world's axes, and both points in the front camera's image.

    The facts also have the rotations of the frames `gripper` (the grip site's axes) and `camera` (the front camera's: x
    right, y up, z towards the viewer).

    Args:
        sim: robosuite's simulator.
        pairs: each target, and whether it is grasped.
        eef_site: number of the site between the finger tips.
        camera_hw: height and width of the image.
    """
    data, camera = sim.data, sim.model.camera_name2id(VIEWS["observation/image"])
    height, width = camera_hw
    camera_mat, gripper_m = data.cam_xmat[camera].reshape(3, 3), np.array(data.site_xpos[eef_site])
    rotations = {
        "gripper": np.array(data.site_xmat[eef_site].reshape(3, 3).T, np.float32),
        "camera": np.array(camera_mat.T, np.float32),
    }

    def pixel(point: np.ndarray) -> tuple[float, float] | None:
        return project(point, data.cam_xpos[camera], camera_mat, sim.model.cam_fovy[camera], width / height)

    targets = []
    for target, grasped in pairs:
        point = point_m(sim, target)
        offset_m = (point - gripper_m).astype(np.float32)
        targets.append(
            TargetFacts(
                phrase=target.phrase, offset_m=offset_m, grasped=grasped, point_px=pixel(point), rotations=rotations
            )
        )
    return SceneFacts(targets=tuple(targets), gripper_px=pixel(gripper_m), camera=LIBERO.cameras["observation/image"])


def box_m(sim: Any, geoms: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner `[3]`, world axes, of the shapes with these names."""
    model, data = sim.model._model, sim.data._data
    ids = [sim.model.geom_name2id(geom) for geom in geoms]
    matrices = data.geom_xmat[ids].reshape(-1, 3, 3)
    centres = data.geom_xpos[ids] + np.einsum("gij,gj->gi", matrices, model.geom_aabb[ids, :3])
    halves = np.einsum("gij,gj->gi", np.abs(matrices), model.geom_aabb[ids, 3:])
    return (centres - halves).min(axis=0), (centres + halves).max(axis=0)


def axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """x y z w -> axis * angle, radians in 0..2 pi (openpi's LIBERO client, after robosuite's `quat2axisangle`)."""
    w = float(np.clip(quaternion[3], -1.0, 1.0))
    sine = np.sqrt(1.0 - w * w)
    if np.isclose(sine, 0.0):
        return np.zeros(3)
    return quaternion[:3] * 2.0 * np.arccos(w) / sine
