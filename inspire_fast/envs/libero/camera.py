"""The simulator's two cameras: rendering on demand, and projection of a world point into the image."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterable
import importlib
from typing import Any, Literal
import weakref

import numpy as np

from inspire_fast.envs.gl import INSTALL_HINT, RenderingUnavailableError, require_rendering

RenderQuality = Literal["full", "reduced"]
Decorate = Callable[[Any], None]
"""Adds shapes to a scene (mujoco.MjvScene) before it is drawn."""
# Native observation key -> camera of the simulator.
VIEWS = {"observation/image": "agentview", "observation/wrist_image": "robot0_eye_in_hand"}


class Cameras:
    """Renderer of one model's views, turned by 180 degrees as in openpi's LIBERO client (`raw[::-1, ::-1]`).

    It makes its own OpenGL context current before each image, so that several environments can render in one process.
    robosuite's renderer does not, and then draws the textures of another environment.

    Args:
        model: mujoco.MjModel; its off-screen buffer is enlarged if the images need it.
        hw: height and width of both images.
        quality: `full` is LIBERO's own look (4-fold multisampling, reflections); `reduced` leaves both out.

    Attributes:
        decorate: see `Decorate`; None adds nothing.

    Raises:
        RenderingUnavailableError: rendering is switched off, or OpenGL gives no context.
    """

    def __init__(self, model: Any, hw: tuple[int, int], quality: RenderQuality) -> None:
        require_rendering()
        mujoco: Any = importlib.import_module("mujoco")
        self._reflections = quality == "full"
        self._reflection_flag = mujoco.mjtRndFlag.mjRND_REFLECTION
        height, width = hw
        model.vis.global_.offheight = max(model.vis.global_.offheight, height)
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, width)
        if quality == "reduced":
            model.vis.quality.offsamples = 0
        try:
            self._renderer = mujoco.Renderer(model, height, width)
        except (ImportError, RuntimeError, AttributeError, mujoco.FatalError) as error:
            raise RenderingUnavailableError(f"No OpenGL context for rendering: {error}. {INSTALL_HINT}") from error
        self._options = mujoco.MjvOption()
        self._options.geomgroup[0] = 0  # collision shapes
        self._options.geomgroup[1] = 1  # visible shapes
        if not _open:
            # Registered after mujoco's exit hook, and so run before it: contexts must be freed before the display.
            atexit.register(_close_all)
        _open.add(self)
        self._bare = mujoco.MjvOption()  # for `segment`: marks of sites would hide the shapes behind them
        self._bare.geomgroup[:], self._bare.sitegroup[:] = self._options.geomgroup, 0
        self._geom_type = int(mujoco.mjtObj.mjOBJ_GEOM)
        flags = mujoco.mjtRndFlag
        self._colours_only = [int(f) for f in (flags.mjRND_SHADOW, flags.mjRND_REFLECTION, flags.mjRND_SKYBOX)]
        self.decorate: Decorate | None = None

    def upload(self, textures: Iterable[int]) -> None:
        """Uploads the model's textures to the renderer after a change."""
        mujoco: Any = importlib.import_module("mujoco")
        self._renderer._gl_context.make_current()
        for texture in textures:
            mujoco.mjr_uploadTexture(self._renderer.model, self._renderer._mjr_context, texture)

    def render(self, data: Any, camera: str) -> np.ndarray:
        """uint8 `[h, w, 3]`, RGB, of the present `data` (mujoco.MjData)."""
        self._renderer.update_scene(data, camera, self._options)
        self._renderer.scene.flags[self._reflection_flag] = self._reflections
        if self.decorate is not None:
            self.decorate(self._renderer.scene)
        # mujoco's renderer already turns OpenGL's image upside down; mirroring it completes the half turn.
        return np.ascontiguousarray(self._renderer.render()[:, ::-1])

    def segment(self, data: Any, camera: str) -> np.ndarray:
        """Number of the visible shape (geom) at each pixel of `render`'s picture, int32 `[h, w]`; -1: none."""
        self._renderer.update_scene(data, camera, self._bare)
        if self.decorate is not None:
            self.decorate(self._renderer.scene)
        flags = self._renderer.scene.flags
        before = flags.copy()
        flags[self._colours_only] = 0  # they cost a third of the time, and do not show in numbers
        self._renderer.enable_segmentation_rendering()
        try:
            number, kind = np.moveaxis(self._renderer.render()[:, ::-1], -1, 0)
        finally:
            self._renderer.disable_segmentation_rendering()
            flags[:] = before
        return np.where(kind == self._geom_type, number, -1)

    def close(self) -> None:
        """Frees the OpenGL context. Calling it twice is harmless."""
        self._renderer.close()
        _open.discard(self)


_open: weakref.WeakSet[Cameras] = weakref.WeakSet()


def _close_all() -> None:
    for cameras in list(_open):
        cameras.close()


def project(
    point_m: np.ndarray, camera_m: np.ndarray, camera_mat: np.ndarray, fovy_deg: float, aspect: float
) -> tuple[float, float] | None:
    """Position of a world point in the image turned by 180 degrees.

    Args:
        point_m: `[3]`, world frame.
        camera_m: camera's position `[3]`, world frame.
        camera_mat: camera's axes as columns `[3, 3]`: x right, y up, looking along -z (mujoco's convention).
        fovy_deg: vertical field of view.
        aspect: width / height of the image.

    Returns:
        `(y, x)` in 0..1 of height and width, `(0, 0)` top left; None if the image does not show the point.
    """
    x, y, z = camera_mat.T @ (point_m - camera_m)
    if z >= 0:
        return None
    half = np.tan(np.deg2rad(fovy_deg) / 2)
    right, up = x / (-z * half * aspect), y / (-z * half)
    if max(abs(right), abs(up)) > 1:
        return None
    # OpenGL's raw rows grow upwards; the half turn makes rows grow downwards and columns grow to the camera's left.
    return float(1 - up) / 2, float(1 - right) / 2
