import numpy as np

from inspire_fast.training.reporting.held_out import Example
from inspire_fast.training.reporting.plots import draw_examples, draw_views

RIGHT, WRONG = np.array([0x1A, 0x7F, 0x37]), np.array([0xC6, 0x28, 0x28])


def example(answer: str, decoded: np.ndarray | None) -> Example:
    return Example(
        instruction="put the bowl on the plate",
        dialogue=(("direction", "the bowl", "left", answer, 0.9),),
        images={"base_0_rgb": np.zeros((8, 8, 3), np.uint8)},
        actions=np.zeros((10, 2), np.float32),
        decoded=decoded,
    )


def has(image: np.ndarray, colour: np.ndarray) -> bool:
    return bool((np.abs(image.astype(int) - colour).max(axis=-1) < 12).any())


def test_right_answers_are_green_and_wrong_ones_red() -> None:
    chunk = np.ones((10, 2), np.float32)
    right, wrong = (draw_examples([example(answer, chunk)], "step 1") for answer in ("left", "back"))
    assert right.dtype == np.uint8
    assert right.shape == wrong.shape == (*right.shape[:2], 3)
    assert (has(right, RIGHT), has(right, WRONG)) == (True, False)
    assert (has(wrong, RIGHT), has(wrong, WRONG)) == (False, True)
    nothing = draw_examples([example("left", None)], "step 1")
    assert has(nothing, WRONG)  # no well-formed chunk
    assert len(draw_examples([example("left", chunk)] * 3, "step 1")) > 2 * len(right)


def test_views_show_what_the_network_sees() -> None:
    """Floats are in [-1, 1], integers in 0..255."""
    red = np.array([1.0, -1.0, -1.0], np.float32) * np.ones((2, 8, 8, 1), np.float32)
    floats = draw_views({"base_0_rgb": red}, "step 1")
    integers = draw_views({"base_0_rgb": ((red + 1) / 2 * 255).astype(np.uint8)}, "step 1")
    np.testing.assert_array_equal(floats, integers)
    assert has(floats, np.array([255, 0, 0]))
