"""Labels move with the picture: a dot is drawn, the picture padded, cropped and turned, and the dot is found there."""

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.data.images import resize_with_pad
from inspire_fast.data.picture_facts import padded
from inspire_fast.data.placement import Placement
from inspire_fast.training.augment import RECIPES, Recipe, augment

HW = (64, 64)
RECIPE = RECIPES["intended"]
PLACEMENT = Placement(crop=RECIPE.crop, rotation_deg=RECIPE.rotation_deg)
changed = jax.jit(
    lambda image, placement: augment({"base_0_rgb": image}, jax.random.key(0), RECIPE, placement=placement)
)


@settings(max_examples=25)
@given(
    at=st.tuples(st.floats(0.2, 0.8), st.floats(0.2, 0.8)),
    numbers=st.tuples(*[st.floats(0, 1, width=32)] * 3),
    source_hw=st.sampled_from([(64, 64), (90, 160), (128, 96)]),
)
def test_a_dot_is_found_where_its_label_went(
    at: tuple[float, float], numbers: tuple[float, ...], source_hw: tuple[int, int]
) -> None:
    h, w = source_hw
    y, x = np.mgrid[:h, :w]
    dot = np.exp(-(((y + 0.5) / h - at[0]) ** 2 * h * h + ((x + 0.5) / w - at[1]) ** 2 * w * w) / (2 * 4.0**2))
    picture = resize_with_pad((dot[..., None] * [255, 255, 255]).astype(np.uint8), *HW)
    placement = np.array(numbers, np.float32)
    label = PLACEMENT.point_map(placement, HW)(padded(source_hw, HW)(np.array([at])))[0]
    seen = np.asarray(changed(jnp.asarray(picture)[None], jnp.asarray(placement)[None])["base_0_rgb"])[0].mean(axis=-1)
    weight = np.clip((seen - seen.min()) / (seen.max() - seen.min()) - 0.3, 0, None)
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    found = [(weight * (place + 0.5)).sum() / weight.sum() for place in (rows, columns)]
    np.testing.assert_allclose(np.array(found) / HW, label, atol=0.5 / HW[0])  # half a pixel


def test_wrists_stay() -> None:
    dot = jnp.zeros((2, 16, 16, 3)).at[:, 4:6, 4:6].set(1.0)
    images = dict.fromkeys(("base_0_rgb", "left_wrist_0_rgb"), dot)
    corner = jnp.array([[0, 0, 0.5]] * 2)
    placed = jax.jit(lambda i: augment(i, jax.random.key(3), Recipe(crop=0.5), placement=corner))(images)
    np.testing.assert_array_equal(placed["left_wrist_0_rgb"], dot)
    assert np.asarray(placed["base_0_rgb"])[:, 9:11, 9:11].min() > 0.5  # twice as far from the corner


def test_what_is_in_the_middle_stays_there() -> None:
    move = PLACEMENT.point_map(np.full(3, 0.5, np.float32), HW)
    np.testing.assert_allclose(move(np.array([[0.5, 0.5]])), [[0.5, 0.5]], atol=0.01)
    left = Placement(crop=0.5).point_map(np.array([0, 0, 0.5], np.float32), HW)
    np.testing.assert_allclose(left(np.array([[0.25, 0.1], [0.5, 0.75]])), [[0.5, 0.2], [1.0, 1.5]])
