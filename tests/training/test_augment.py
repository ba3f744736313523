"""Augmentation: random numbers, effects on pixels, and openpi's recorded images."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.training.augment import (
    RECIPES,
    Recipe,
    augment,
    crop_and_rotate,
    jitter,
)

CAMERAS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
RAMP = Path(__file__).parents[1] / "golden/c_transforms/preprocess_train_augmax_ramp.npz"
SIZE = 20
# Compiled once: a test's time goes into compiling.
WARP = jax.jit(crop_and_rotate, static_argnums=1, static_argnames="dark_edges")


@jax.jit
def recolour(image, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0):
    return jitter(image, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)


@partial(jax.jit, static_argnums=1)
def warp_and_recolour(image, crop, place, angle, amounts):
    brightness, contrast, hue = amounts
    warped = crop_and_rotate(image, crop, place, angle, dark_edges=True)  # as openpi's
    return jitter(warped, brightness=brightness, contrast=contrast, hue=hue)


@pytest.fixture(scope="module")
def run():
    """The compiled augmentation of a recipe on 64 rows of one image under every camera."""
    image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    images = {camera: jnp.asarray(image.repeat(64, 0)) for camera in CAMERAS}
    programs = {}

    def call(recipe, seed=0):
        program = programs.setdefault(recipe, jax.jit(partial(augment, recipe=recipe)))
        return {camera: np.asarray(v) for camera, v in program(images, jax.random.key(seed)).items()}

    call.plain = np.asarray(image[0], np.float32) / 255 * 2 - 1
    return call


def changed(views, plain):
    return (np.abs(views - plain) > 1e-5).any(axis=(1, 2, 3))


@pytest.mark.parametrize("name", RECIPES)
def test_results_are_bounded_floats_of_the_same_shape_and_follow_from_the_key(run, name):
    first, again, other = run(name), run(name), run(name, seed=1)
    for camera, views in first.items():
        assert views.shape == (64, SIZE, SIZE, 3)
        assert views.dtype == np.float32
        assert np.abs(views).max() <= 1 + 1e-6
        np.testing.assert_array_equal(views, again[camera])
        assert (name == "none") == np.array_equal(views, other[camera])


def test_none_is_the_picture_itself(run):
    for views in run("none").values():
        np.testing.assert_allclose(views, run.plain[None].repeat(64, 0), atol=1e-6)


def test_intended_draws_for_every_camera_and_sample(run):
    result = run("intended")
    for views in result.values():
        assert changed(views, run.plain).all()
        assert len({p.tobytes() for p in views}) == 64
    assert (np.abs(result["left_wrist_0_rgb"] - result["right_wrist_0_rgb"]).max(axis=(1, 2, 3)) > 1e-3).all()


def test_openpi_gives_both_wrists_one_jitter_and_half_of_the_pictures_none(run):
    draws = [run("openpi", seed) for seed in range(4)]
    for result in draws:
        np.testing.assert_array_equal(result["left_wrist_0_rgb"], result["right_wrist_0_rgb"])
    share = np.mean([changed(result["left_wrist_0_rgb"], run.plain) for result in draws])
    assert abs(share - 0.5) < 0.12  # 256 draws: 4 standard deviations
    assert len({p.tobytes() for p in draws[0]["left_wrist_0_rgb"]}) > 20


def test_openpi_never_changes_the_saturation_and_intended_does(run):
    def saturation(views):
        unit = (views + 1) / 2
        value = unit.max(-1)
        return (value - unit.min(-1)) / np.maximum(value, 1e-6), value > 0.1

    for recipe, moves in (("openpi", False), ("intended", True)):
        before, _ = saturation(run.plain[None])
        after, bright = saturation(run(recipe)["left_wrist_0_rgb"])
        assert (np.abs(after - before)[bright].max() > 0.2) == moves


def test_only_cameras_off_the_wrist_are_moved(run):
    moving = Recipe(crop=0.9, rotation_deg=20.0)
    result = run(moving)
    assert changed(result["base_0_rgb"], run.plain).all()
    for camera in CAMERAS[1:]:
        assert not changed(result[camera], run.plain).any()


def test_no_strength_is_no_change():
    image = np.random.default_rng(1).uniform(size=(21, 21, 3)).astype(np.float32)
    np.testing.assert_allclose(recolour(image), image, atol=1e-6)
    np.testing.assert_allclose(WARP(image, 1.0, np.array([0.3, 0.9]), 0.0), image, atol=1e-6)


def test_a_marked_pixel_turns_counter_clockwise():
    image = np.zeros((21, 21, 3), np.float32)
    image[10, 17] = 1.0  # 7 px to the right of the middle
    quarter = np.asarray(WARP(image, 1.0, np.zeros(2), np.pi / 2))[..., 0]
    np.testing.assert_allclose(quarter[3, 10], 1.0, atol=1e-4)  # above it
    np.testing.assert_allclose(quarter.sum(), 1.0, atol=1e-3)
    angle = np.deg2rad(30)
    blob = np.asarray(WARP(image, 1.0, np.zeros(2), angle))[..., 0]
    y, x = np.mgrid[:21, :21]
    centre = (blob * y).sum() / blob.sum(), (blob * x).sum() / blob.sum()
    np.testing.assert_allclose(centre, (10 - 7 * np.sin(angle), 10 + 7 * np.cos(angle)), atol=0.15)


def test_a_crop_is_a_window_of_the_picture_enlarged():
    ramp = np.arange(21, dtype=np.float32)[:, None, None] * np.ones((1, 21, 3), np.float32)
    for place in (0.0, 0.5, 1.0):  # windows of 10 rows: 0..9, 5.5..14.5, 11..20
        rows = np.asarray(WARP(ramp, 0.5, np.array([place, 0.0]), 0.0))[2:-2, 10, 0]
        np.testing.assert_allclose(np.diff(rows), 10 / 21, atol=1e-4)
        np.testing.assert_allclose(rows.mean(), 4.5 + 11 * place, atol=1e-4)


@pytest.mark.parametrize("place", [0.0, 1.0])
def test_a_crop_at_the_edge_shows_nothing_of_the_outside(place):
    white = np.ones((21, 21, 3), np.float32)
    np.testing.assert_allclose(WARP(white, 0.5, np.full(2, place), 0.0), 1.0, atol=1e-5)
    assert np.asarray(WARP(white, 0.5, np.full(2, place), 0.0, dark_edges=True)).min() < 0.8
    assert RECIPES["openpi"].dark_edges
    assert not RECIPES["intended"].dark_edges


def test_what_comes_into_view_is_black():
    turned = np.asarray(WARP(np.ones((21, 21, 3), np.float32), 1.0, np.zeros(2), np.pi / 4))
    assert (turned[0, 0] == 0).all()
    np.testing.assert_allclose(turned[10, 10], 1.0)


def test_saturation_grows_to_full_at_most_and_shrinks_to_grey():
    pink, full, grey, black = (0.8, 0.4, 0.6), (0.8, 0.0, 0.4), (0.3,) * 3, (0.0,) * 3
    colours = np.array([pink, full, grey, black], np.float32)
    np.testing.assert_allclose(recolour(colours, saturation=0.5), [(0.8, 0.2, 0.5), full, grey, black], atol=1e-6)
    np.testing.assert_allclose(
        recolour(colours, saturation=-0.5), [(0.8, 0.6, 0.7), (0.8, 0.4, 0.6), grey, black], atol=1e-6
    )
    np.testing.assert_allclose(recolour(colours, brightness=0.5)[2:], [(0.65,) * 3, (0.5,) * 3], atol=1e-6)


def test_hue_turns_the_wheel():
    colours = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.4, 0.4, 0.4)], np.float32)
    np.testing.assert_allclose(recolour(colours, hue=1 / 3), colours[[1, 2, 0, 3]], atol=1e-5)
    np.testing.assert_allclose(recolour(colours, hue=-1 / 3), colours[[2, 0, 1, 3]], atol=1e-5)


def test_brightness_and_contrast_of_greys():
    greys = np.linspace(0, 1, 101, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    np.testing.assert_allclose(recolour(greys, brightness=0.5)[[0, 50, 100], 0], [0.5, 0.75, 1.0], atol=1e-6)
    np.testing.assert_allclose(recolour(greys, brightness=-0.5)[[0, 50, 100], 0], [0.0, 0.25, 0.5], atol=1e-6)
    for amount in (-0.4, 0.4):
        curve = np.asarray(recolour(greys, contrast=amount))[:, 0]
        np.testing.assert_allclose(curve[[0, 50, 100]], [0, 0.5, 1], atol=1e-6)
        assert (np.diff(curve) > 0).all()
        np.testing.assert_allclose((curve[51] - curve[49]) / 0.02, np.tan((1 + amount) * np.pi / 4), rtol=1e-3)


@pytest.mark.parametrize(
    ("camera", "row", "amounts", "middle", "angle"),
    [
        ("left_wrist_0_rgb", 0, (-0.29075239, 0.36693848, -0.08148015), None, 0.0),
        ("base_0_rgb", 0, (0.213223173, 0.00148256326, 0.0122061006), (108.602771, 106.935633), 0.0222027597),
        ("base_0_rgb", 1, (-0.0475466896, -0.0633826569, 0.0827162895), (115.484511, 114.572390), -0.0689796851),
    ],
)
def test_pictures_that_openpi_recorded_are_ours_with_the_amounts_that_it_drew(camera, row, amounts, middle, angle):
    # The amounts were fitted once; the whole image, black corners included, then follows to float precision.
    recipe, n = RECIPES["openpi"], 224
    window = int(n * recipe.crop)
    limits = (recipe.brightness, recipe.contrast, recipe.hue)
    assert all(abs(a) <= limit for a, limit in zip(amounts, limits, strict=True))
    assert abs(angle) <= np.deg2rad(recipe.rotation_deg)
    red = np.linspace(0, 1, n, dtype=np.float32)[:, None].repeat(n, 1)
    image = np.stack([red, red.T, np.full_like(red, 0.5)], axis=-1)
    if middle is None:
        brightness, contrast, hue = amounts
        result = recolour(image, brightness=brightness, contrast=contrast, hue=hue) * 2 - 1
    else:
        place = (np.array(middle) - (window - 1) / 2) / (n - window)
        assert (place >= 0).all()
        assert (place <= 1).all()
        result = warp_and_recolour(image, recipe.crop, place, angle, amounts) * 2 - 1
    recorded = np.load(RAMP)[f"out/{camera}_every8"][row]
    np.testing.assert_allclose(result[::8, ::8], recorded, atol=3e-5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: augment({"base": jnp.zeros((4, 4, 3))}, jax.random.key(0)),
            r"'base' must be \[b, h, w, 3\]; got \(4, 4, 3\)",
        ),
        (lambda: augment({}, jax.random.key(0), "opempi"), "Did you mean 'openpi'"),
        (lambda: replace(RECIPES["none"], crop=0.0), "crop must be in"),
        (lambda: replace(RECIPES["none"], saturation=1.0), "colour shares are below 1"),
    ],
)
def test_wrong_input_is_refused(call, words):
    with pytest.raises((ValueError, KeyError), match=words):
        call()


def test_a_sample_gets_the_same_numbers_whatever_process_it_came_from() -> None:
    stream = jax.random.uniform(jax.random.key(1), (6, 8, 8, 3)) * 2 - 1
    dealt = jnp.concatenate([stream[0::2], stream[1::2]])  # two processes take turns; each makes a block of rows
    program = jax.jit(augment, static_argnames="processes")
    one = program({"base": stream}, jax.random.key(0))["base"]
    two = program({"base": dealt}, jax.random.key(0), processes=2)["base"]
    np.testing.assert_array_equal(jnp.concatenate([one[0::2], one[1::2]]), two)
