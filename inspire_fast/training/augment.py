"""Augmentation of camera images in training, on the device: pure, jittable, seeded by one key.

Recipes follow openpi (which uses augmax 0.4.1): images of cameras that are not on a wrist are cropped to 95 % of height
and width, enlarged again and rotated by up to 5 degrees; the colours of all images are jittered. `intended` is what
openpi's config says: every image is jittered, saturation included, and every camera and sample draws its own numbers.
`openpi` is what its code does: augmax drops the saturation, shifts the hue by up to a tenth of a turn (its default),
jitters half of the images (likewise), lets the edge of a crop fade to black, and gives every camera the same random
key, so that both wrists get the same jitter.

Neither reproduces augmax's random numbers: the distributions are the contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.core.registry import Registry
from inspire_fast.data.placement import window
from inspire_fast.models.layers import image_to_float
from inspire_fast.models.placement import place


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Strengths of the changes; amounts are drawn uniformly up to the given size, in both directions.

    Attributes:
        crop: share of height and width that a random crop keeps; not on wrist cameras.
        rotation_deg: largest rotation about the image's centre; not on wrist cameras. Area outside the image is black.
        brightness: share by which the value (of HSV) moves towards white or black.
        contrast: see `adjust_contrast`.
        saturation: share by which the saturation (of HSV) grows or shrinks.
        hue: in turns.
        probability: share of the images whose colours are jittered.
        dark_edges: the outermost pixels of a crop at the image's edge fade to black, as in augmax.
        same_for_all_cameras: cameras of one kind (wrist or not) draw the same numbers for a sample.
    """

    crop: float = 1.0
    rotation_deg: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    probability: float = 1.0
    dark_edges: bool = False
    same_for_all_cameras: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1 or not 0 <= self.probability <= 1:
            raise ValueError(
                f"crop must be in (0, 1] and probability in [0, 1]; got {self.crop} and {self.probability}."
            )
        for name in ("rotation_deg", "brightness", "contrast", "saturation", "hue"):
            if getattr(self, name) < 0 or (
                name in ("brightness", "contrast", "saturation") and getattr(self, name) >= 1
            ):
                raise ValueError(
                    f"{name} must not be negative, and colour shares are below 1; got {getattr(self, name)}."
                )

    @property
    def moves(self) -> bool:
        """Whether images are cropped or rotated."""
        return self.crop < 1 or self.rotation_deg > 0

    @property
    def recolours(self) -> bool:
        """Whether colours are jittered."""
        return self.probability > 0 and max(self.brightness, self.contrast, self.saturation, self.hue) > 0


RECIPES: Registry[Recipe] = Registry(
    "augmentation",
    {
        "none": Recipe(),
        "intended": Recipe(crop=0.95, rotation_deg=5.0, brightness=0.3, contrast=0.4, saturation=0.5),
        "openpi": Recipe(
            crop=0.95,
            rotation_deg=5.0,
            brightness=0.3,
            contrast=0.4,
            hue=0.1,
            probability=0.5,
            dark_edges=True,
            same_for_all_cameras=True,
        ),
    },
)


def augment(
    images: Mapping[str, jax.Array],
    key: jax.Array,
    recipe: str | Recipe = "intended",
    *,
    processes: int = 1,
    placement: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """Changes a batch of images at random.

    Args:
        images: camera -> uint8, or float in [-1, 1], `[b, h, w, 3]`. A name that contains "wrist" is a wrist camera.
        key: key of this step; the caller uses `jax.random.fold_in(key, step)`.
        recipe: a name of `RECIPES`, or a recipe.
        processes: number of processes that made the batch, a block of rows each, by taking turns in the stream of
            samples. A sample gets the same numbers whichever process it came from.
        placement: float32 `[b, 3]` in 0..1, see `data.placement`: where and how each row's images are cropped and
            turned, the same for all cameras that are not on a wrist. None draws it.

    Returns:
        camera -> float32 in [-1, 1] of the same shapes.

    Raises:
        KeyError: an unknown name; lists the known ones.
        ValueError: an image is not `[b, h, w, 3]`.
    """
    chosen = RECIPES[recipe] if isinstance(recipe, str) else recipe
    floats = {camera: image_to_float(image) for camera, image in images.items()}
    for camera, image in floats.items():
        if image.ndim != 4 or image.shape[-1] != 3:
            raise ValueError(f"Camera {camera!r} must be [b, h, w, 3]; got {image.shape}.")
    cameras = sorted(images)
    kinds: dict[tuple[bool, tuple[int, ...]], list[str]] = {}  # one program for all cameras of a kind
    for camera in cameras:
        kinds.setdefault(("wrist" in camera, floats[camera].shape), []).append(camera)
    for (wrist, shape), alike in kinds.items():
        if not chosen.recolours and (wrist or not chosen.moves):
            continue
        numbers = [int(wrist) if chosen.same_for_all_cameras else cameras.index(camera) for camera in alike]
        places = np.arange(shape[0]).reshape(-1, processes).T.ravel()  # each row's place in the stream
        keys = jnp.stack([jax.random.split(jax.random.fold_in(key, number), shape[0])[places] for number in numbers])
        one = partial(_augment_one, recipe=chosen, wrist=wrist)
        unit = (jnp.stack([floats[camera] for camera in alike]) + 1) / 2
        if placement is None:
            unit = jax.vmap(jax.vmap(one))(unit, keys)
        else:
            unit = jax.vmap(jax.vmap(one), in_axes=(0, 0, None))(unit, keys, placement)
        unit = place(unit, None, "batch")
        floats |= dict(zip(alike, jnp.clip(unit * 2 - 1, -1.0, 1.0), strict=True))
    return floats


def _augment_one(
    image: jax.Array, key: jax.Array, placement: jax.Array | None = None, *, recipe: Recipe, wrist: bool
) -> jax.Array:
    """One image `[h, w, 3]` in [0, 1]; `placement` is `[3]`."""
    top, left, whether, turn, brightness, contrast, saturation, hue = jax.random.uniform(key, (8,))
    if placement is not None:
        top, left, turn = placement
    if recipe.moves and not wrist:
        angle = jnp.deg2rad(recipe.rotation_deg) * (2 * turn - 1)
        image = crop_and_rotate(image, recipe.crop, jnp.stack([top, left]), angle, dark_edges=recipe.dark_edges)
    if recipe.recolours:
        jittered = jitter(
            image,
            brightness=recipe.brightness * (2 * brightness - 1),
            contrast=recipe.contrast * (2 * contrast - 1),
            saturation=recipe.saturation * (2 * saturation - 1),
            hue=recipe.hue * (2 * hue - 1) if recipe.hue else None,
        )
        image = jnp.where(whether < recipe.probability, jittered, image)
    return image


def crop_and_rotate(
    image: jax.Array, crop: float, place: jax.Array, angle: jax.Array, *, dark_edges: bool = False
) -> jax.Array:
    """Crops a window, enlarges it to the whole image and rotates that about its centre, with one bilinear sampling.

    Args:
        image: `[h, w, c]` in [0, 1]; the area around it is black.
        crop: height and width of the window as a share of `h` and `w`, rounded down to whole pixels.
        place: position of the window between top and bottom, and left and right, `[2]` in [0, 1].
        angle: rad; positive rotates the image's content counter-clockwise.
        dark_edges: see `Recipe`; without it, a crop without rotation shows no black.
    """
    h, w, _ = image.shape
    window_h, window_w = window((h, w), crop)
    # Pixel centres, measured from the image's centre: x to the right, y down.
    y, x = jnp.meshgrid(jnp.arange(h) - (h - 1) / 2, jnp.arange(w) - (w - 1) / 2, indexing="ij")
    turned_y, turned_x = jnp.sin(angle) * x + jnp.cos(angle) * y, jnp.cos(angle) * x - jnp.sin(angle) * y
    source_y = turned_y * (window_h / h) + (window_h - 1) / 2 + place[0] * (h - window_h)
    source_x = turned_x * (window_w / w) + (window_w - 1) / 2 + place[1] * (w - window_w)
    if dark_edges:
        return _sample(image, source_y, source_x)
    # Enlarging moves the outermost pixels' centres up to (1 - crop) / 2 px out of the image; there its edge is used.
    inside_y, inside_x = _towards(source_y, h, (1 - window_h / h) / 2), _towards(source_x, w, (1 - window_w / w) / 2)
    return _sample(image, inside_y, inside_x)


def _towards(position: jax.Array, size: int, slack: float) -> jax.Array:
    """Positions outside of 0 .. `size - 1`, moved towards that range by at most `slack`."""
    inside = jnp.clip(position, 0, size - 1)
    return inside + jnp.sign(position - inside) * jnp.maximum(jnp.abs(position - inside) - slack, 0)


def _sample(image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Bilinear look-up at pixel positions `y`, `x` `[h, w]`."""
    h, w, c = image.shape
    flat = jnp.pad(image, ((1, 1), (1, 1), (0, 0))).reshape(-1, c)  # a border of one black pixel
    y, x = jnp.clip(y + 1, 0, h + 1), jnp.clip(x + 1, 0, w + 1)
    top, left = jnp.clip(jnp.floor(y), 0, h).astype(jnp.int32), jnp.clip(jnp.floor(x), 0, w).astype(jnp.int32)
    down, right = (y - top)[..., None], (x - left)[..., None]
    first = top * (w + 2) + left
    upper = flat[first] * (1 - right) + flat[first + 1] * right
    lower = flat[first + w + 2] * (1 - right) + flat[first + w + 3] * right
    return upper * (1 - down) + lower * down


def jitter(
    image: jax.Array,
    *,
    brightness: jax.Array | float = 0.0,
    contrast: jax.Array | float = 0.0,
    saturation: jax.Array | float = 0.0,
    hue: jax.Array | float | None = None,
) -> jax.Array:
    """Changes colours in HSV; see `Recipe` for the amounts. Greys keep no hue, so they stay grey.

    Args:
        image: `[..., 3]` in [0, 1].
        brightness: in (-1, 1).
        contrast: in (-1, 1).
        saturation: in (-1, 1); the saturation becomes `(1 + saturation)` times itself, at most full.
        hue: in turns; None skips the hue, which is faster than 0.

    Returns:
        `[..., 3]` in [0, 1].
    """
    value = image.max(axis=-1, keepdims=True)
    wanted = adjust_contrast(adjust_brightness(value, brightness), contrast)
    # One factor for all channels changes the value and keeps hue and saturation.
    image = jnp.where(value > 0, image * (wanted / jnp.maximum(value, 1e-6)), wanted)
    chroma = wanted - image.min(axis=-1, keepdims=True)
    fullest = jnp.where(chroma > 1e-6, wanted / jnp.maximum(chroma, 1e-6), 1.0)
    image = wanted - (wanted - image) * jnp.minimum(1 + saturation, fullest)
    return image if hue is None else shift_hue(image, hue)


def adjust_brightness(value: jax.Array, amount: jax.Array | float) -> jax.Array:
    """Moves values in [0, 1] by the share `amount` towards white, or towards black if it is negative."""
    return value * (1 - jnp.abs(amount)) + jnp.maximum(amount, 0.0)


def adjust_contrast(value: jax.Array, amount: jax.Array | float) -> jax.Array:
    """Steepens (or flattens) values in [0, 1] about 0.5; 0, 0.5 and 1 keep their values.

    The curve has three straight pieces: slope s = tan((1 + amount) pi / 4) in the middle, 1 / s outside (as augmax).
    """
    slope = jnp.tan((1 + amount) * (jnp.pi / 4))
    end = slope / (2 * (1 + slope))
    middle = 0.5 + slope * (value - 0.5)
    return jnp.where(value < end, value / slope, jnp.where(value > 1 - end, 1 - (1 - value) / slope, middle))


def shift_hue(image: jax.Array, turns: jax.Array | float) -> jax.Array:
    """Rotates the colour wheel, `[..., 3]` in [0, 1]: a third of a turn maps red to green, two thirds to blue."""
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    value = image.max(axis=-1)
    chroma = value - image.min(axis=-1)
    divisor = jnp.where(chroma > 0, chroma, 1.0)
    sixths = jnp.where(
        value == red,
        (green - blue) / divisor,
        jnp.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    turned = sixths + 6 * turns

    def channel(offset: float) -> jax.Array:
        distance = (turned + offset) % 6
        return value - chroma * jnp.clip(jnp.minimum(distance, 4 - distance), 0, 1)

    return jnp.stack([channel(5.0), channel(3.0), channel(1.0)], axis=-1)
