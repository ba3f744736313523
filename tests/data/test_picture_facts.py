"""Facts in pictures go where the picture's points go."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.images import padded_point, resize_with_pad
from inspire_fast.data.picture_facts import moved, moved_box, moved_point, padded, turned
from inspire_fast.robots.spec import ImageOrientation

ORIENTATIONS: dict[ImageOrientation, Callable[[np.ndarray], np.ndarray]] = {
    "upright": lambda image: image,
    "rotated_180": lambda image: image[::-1, ::-1],
    "flipped_vertically": lambda image: image[::-1],
}


@given(st.sampled_from(sorted(ORIENTATIONS)), st.sampled_from(sorted(ORIENTATIONS)), st.integers(0, 11))
def test_a_dot_is_found_where_its_point_went(before: ImageOrientation, after: ImageOrientation, place: int) -> None:
    upright = np.zeros((3, 4), np.uint8)
    upright.flat[place] = 1
    (y, x), (to_y, to_x) = (np.argwhere(ORIENTATIONS[o](upright))[0] for o in (before, after))
    found = moved_point(((y + 0.5) / 3, (x + 0.5) / 4), turned(before, after))
    assert found == pytest.approx(((to_y + 0.5) / 3, (to_x + 0.5) / 4))
    box = moved_box((y / 3, x / 4, (y + 1) / 3, (x + 1) / 4), turned(before, after))
    assert box == pytest.approx((to_y / 3, to_x / 4, (to_y + 1) / 3, (to_x + 1) / 4))


@pytest.mark.parametrize("source_hw", [(90, 160), (160, 90), (64, 64), (100, 33)])
def test_a_box_is_where_padding_put_its_pixels(source_hw: tuple[int, int]) -> None:
    picture, (h, w) = np.zeros((*source_hw, 3), np.uint8), source_hw
    picture[h // 2 : -h // 4, w // 4 : w // 2] = 255
    seen = np.argwhere(resize_with_pad(picture, 224, 224)[..., 0] > 127)
    box = moved_box(((h // 2) / h, (w // 4) / w, (h + (-h // 4)) / h, (w // 2) / w), padded(source_hw, (224, 224)))
    assert box is not None
    edges = np.concatenate([seen.min(axis=0), seen.max(axis=0) + 1])
    np.testing.assert_allclose(np.array(box) * 224, edges, atol=1.01)
    assert moved_point((0.3, 0.8), padded(source_hw, (224, 224))) == pytest.approx(
        padded_point((0.3, 0.8), source_hw, (224, 224))
    )


def test_what_leaves_the_picture_is_none() -> None:
    """A shift by 0.3 to the right: the point and the first box stay, the second box is cut, the trace leaves."""
    targets = (
        TargetFacts(phrase="a", offset_m=None, grasped=False, point_px=(0.5, 0.5), box_px=(0.25, 0.25, 0.5, 0.5)),
        TargetFacts(phrase="b", offset_m=None, grasped=False, point_px=(0.5, 0.8), box_px=(0.25, 0.5, 0.5, 0.75)),
    )
    trace = np.array([[0.5, 0.1], [0.5, 0.75]], np.float32)
    scene = SceneFacts(targets=targets, gripper_px=(0.1, 0.7), trace_px=trace, camera="base_0_rgb", quality="Primary")
    after = moved(scene, lambda points: points + np.array([0, 0.3]))
    first, second = after.targets
    assert first.point_px == pytest.approx((0.5, 0.8))
    assert first.box_px == pytest.approx((0.25, 0.55, 0.5, 0.8))
    assert (second.point_px, second.box_px, after.trace_px) == (None, None, None)
    assert after.gripper_px == pytest.approx((0.1, 1))
    assert (after.camera, after.quality) == ("base_0_rgb", "Primary")
