"""Boxes and points of what is visible, against the picture itself."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
import numpy as np
import pytest

from inspire_fast.envs import LiberoEnvironment
from inspire_fast.envs.libero.segmentation import MIN_VISIBLE_PX, box_of, point_in, visible_mask
from inspire_fast.envs.libero.target_table import table
from inspire_fast.envs.libero.targets import Target, shape_body


def mask_of(drawing: str) -> np.ndarray:
    return np.array([[character == "#" for character in row.split()] for row in drawing.strip().splitlines()])


RING = mask_of("""
    # # # # . .
    # . . # . .
    # . . # # #
    # # # # # #
""")


def test_a_box_encloses_whole_pixels():
    assert box_of(RING) == (0, 0, 1, 1)
    assert box_of(RING[:, :4]) == (0, 0, 1, 1)
    shifted = np.pad(RING, ((1, 3), (2, 0)))
    assert box_of(shifted) == (1 / 8, 2 / 8, 5 / 8, 1)


def test_a_point_is_moved_onto_the_thing():
    assert point_in(RING, (0.1, 0.1)) == (0.1, 0.1)  # inside already
    assert point_in(RING, (1.0, 1.0)) == (1.0, 1.0)  # the last pixel's far corner
    hole = point_in(RING, (0.4, 0.3))
    assert hole
    assert RING[int(hole[0] * 4), int(hole[1] * 6)]
    solid = np.pad(np.ones((5, 5), bool), ((2, 1), (1, 3)))
    assert point_in(solid, None) == (4.5 / 8, 3.5 / 9)  # the innermost pixel


def test_few_pixels_are_hidden():
    """Neither box nor point: a thing of a few pixels cannot be told from others."""
    few = np.zeros((8, 8), bool)
    few.flat[: MIN_VISIBLE_PX - 1] = True
    assert (box_of(few), point_in(few, (0.05, 0.05))) == (None, None)
    few.flat[MIN_VISIBLE_PX - 1] = True
    assert box_of(few) == (0, 0, 1 / 8, 1)


@settings(settings.get_profile("few"))
@given(arrays(bool, st.tuples(st.integers(3, 9), st.integers(3, 9))), st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_point_is_always_inside_of_mask_and_box(mask: np.ndarray, wanted: tuple[float, float]):
    box, point = box_of(mask), point_in(mask, wanted)
    assert (box is None) == (point is None) == (np.count_nonzero(mask) < MIN_VISIBLE_PX)
    if box is not None and point is not None:
        (h, w), (y, x) = mask.shape, point
        assert mask[min(int(y * h), h - 1), min(int(x * w), w - 1)]
        assert box[0] <= y <= box[2]
        assert box[1] <= x <= box[3]


def test_shapes_of_phrases():
    """A drawer is the drawer, a stove whose button is meant is the whole stove, a compartment has no shape."""

    def shapes(*words: str) -> set[str | None]:
        meant = [t for row in table() for t in row.targets if any(word in t.phrase for word in words)]
        return {(body := shape_body(t)) and body.replace(t.owner, "") for t in meant}

    assert shapes("compartment") == {None}
    assert shapes("the top drawer") - {"_main"} == {"_cabinet_top"}  # "the bowl in the top drawer" is the bowl
    assert {"_cabinet_middle", "_cabinet_bottom"} < shapes("drawer of the cabinet")
    assert shapes("stove button") == {"_button"}
    assert shapes("microwave", "basket") == {"_main"}
    button = Target(phrase="the stove", owner="flat_stove_1", body="flat_stove_1_button", offset_m=(0, 0, 0.02))
    assert shape_body(button) == "flat_stove_1_main"


@pytest.mark.sim
def test_boxes_of_a_scene_are_those_of_its_pixels(soup: LiberoEnvironment):
    """The can is blue where its mask is; the picture is rendered as before afterwards; hidden things have no place."""
    soup.reset(0)
    before = soup.observe()["observation/image"]
    plain, facts = soup.facts(), soup.facts(boxes=True)
    np.testing.assert_array_equal(soup.observe()["observation/image"], before)
    model, geoms = soup.simulator.sim.model._model, soup.segmented()
    for target, fact, bare in zip(soup.targets, facts.targets, plain.targets, strict=True):
        mask = visible_mask(model, geoms, target)
        assert mask is not None
        rows, columns = np.nonzero(mask)
        box = (rows.min() / 96, columns.min() / 128, (rows.max() + 1) / 96, (columns.max() + 1) / 128)
        assert fact.box_px == box
        assert mask[int(fact.point_px[0] * 96), int(fact.point_px[1] * 128)]
        assert bare.box_px is None
    can = visible_mask(model, geoms, soup.targets[0])
    assert can is not None
    red, _, blue = before[can].mean(axis=0)
    assert blue > red  # the label,
    assert before[can].mean() < before[~can].mean() - 30  # which is darker than the floor
    np.testing.assert_array_equal(before[geoms == -1], 0)  # where no shape is, the picture is black
    assert facts.camera == "base_0_rgb"
    hidden = Target(phrase="the soup", owner="alphabet_soup_1", body="alphabet_soup_1_main")
    nothing = np.full_like(geoms, -1)
    assert box_of(visible_mask(model, nothing, hidden)) is None
