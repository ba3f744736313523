"""Disturbed textures of walls, floors and tables: coloured patterns are mixed in."""

from __future__ import annotations

from typing import Any

import numpy as np

from inspire_fast.envs.libero.disturbances.base import Active, Scene

_MIX = 0.17  # per severity: at 5, the mixture is 85 % pattern
_GROUND = ("floor", "wall", "table", "counter")
_COLOUR_ROLE = 1  # of a material's textures, mujoco's mjTEXROLE_RGB
_CELLS = 8


def textures(scene: Scene) -> Active:
    """Changes the textures of walls, floor and furniture; objects keep theirs."""
    model, environment = scene.model, scene.environment
    chosen = _room_textures(environment, model)
    saved: dict[int, np.ndarray] = {}
    for texture in chosen:
        pixels = _pixels(model, texture)
        saved[texture] = pixels.copy()
        pattern = _pattern(scene.rng, *pixels.shape)
        mix = _MIX * scene.severity
        pixels[:] = ((1 - mix) * pixels + mix * pattern).astype(np.uint8)

    def upload() -> None:
        environment.cameras().upload(chosen)

    def undo() -> None:
        for texture, pixels in saved.items():
            _pixels(model, texture)[:] = pixels
        upload()

    upload()
    return Active(undo=undo)


def _room_textures(environment: Any, model: Any) -> list[int]:
    sim = environment.simulator.sim
    found = set()
    for geom in range(model.ngeom):
        names = f"{sim.model.geom_id2name(geom)} {sim.model.body_id2name(model.geom_bodyid[geom])}"
        material = model.geom_matid[geom]
        if material >= 0 and any(word in names for word in _GROUND):
            texture = int(model.mat_texid[material][_COLOUR_ROLE])
            found |= {texture} if texture >= 0 else set()
    return sorted(found)


def _pixels(model: Any, texture: int) -> np.ndarray:
    """A view of the texture's pixels, uint8 `[h, w, c]`."""
    height, width = int(model.tex_height[texture]), int(model.tex_width[texture])
    channels, start = int(model.tex_nchannel[texture]), int(model.tex_adr[texture])
    return model.tex_data[start : start + height * width * channels].reshape(height, width, channels)


def _pattern(rng: np.random.Generator, height: int, width: int, channels: int) -> np.ndarray:
    """A pattern of two colours, in squares or stripes, float `[h, w, c]`."""
    colours = rng.uniform(30, 225, size=(2, channels))
    rows, columns = np.arange(height) * _CELLS // height, np.arange(width) * _CELLS // width
    stripes = rows[:, None] % 2
    if rng.random() < 0.5:
        return colours[stripes ^ columns % 2]
    return colours[np.broadcast_to(stripes, (height, width))]
