"""Other walls, floors and tables: their textures are mixed with coloured patterns."""

from __future__ import annotations

from typing import Any

import numpy as np

from inspire_fast.envs.libero.disturbances.base import Active, Scene

_MIX = 0.17  # per severity: at 5 the pattern covers 85 % of what was there
_GROUND = ("floor", "wall", "table", "counter")
_COLOUR_ROLE = 1  # of a material's textures, mujoco's mjTEXROLE_RGB
_CELLS = 8


def textures(scene: Scene) -> Active:
    """Changes every texture of walls, floor and furniture that is part of the room, not those of objects."""
    model, environment = scene.model, scene.environment
    chosen = _textures_of_the_room(environment, model)
    kept: dict[int, np.ndarray] = {}
    for texture in chosen:
        pixels = _pixels(model, texture)
        kept[texture] = pixels.copy()
        pattern = _pattern(scene.rng, *pixels.shape)
        mix = _MIX * scene.severity
        pixels[:] = ((1 - mix) * pixels + mix * pattern).astype(np.uint8)

    def upload() -> None:
        if environment._cameras is not None:  # one that is made later reads the textures as they are then
            environment._cameras.upload(chosen)

    def undo() -> None:
        for texture, pixels in kept.items():
            _pixels(model, texture)[:] = pixels
        upload()

    upload()
    return Active(undo=undo)


def _textures_of_the_room(environment: Any, model: Any) -> list[int]:
    sim = environment._alive().sim
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
    """Two colours in squares, or in stripes, float `[h, w, c]`."""
    colours = rng.uniform(30, 225, size=(2, channels))
    rows, columns = np.arange(height) * _CELLS // height, np.arange(width) * _CELLS // width
    which = (
        rows[:, None] % 2 ^ columns % 2 if rng.random() < 0.5 else np.broadcast_to(rows[:, None] % 2, (height, width))
    )
    return colours[which]
