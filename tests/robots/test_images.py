import numpy as np
import pytest

from inspire_fast.robots import ROBOTS
from inspire_fast.robots.images import parse_image

RAMP = np.linspace(0, 1, 4 * 4 * 3).reshape(4, 4, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_rounding_moved_out_of_range_is_clipped(dtype):
    image = RAMP.astype(dtype)
    image[0, 0, 0], image[-1, -1, -1] = -1e-4, np.nextafter(dtype(1), dtype(2))
    parsed = parse_image(image)
    assert (parsed.min(), parsed.max(), parsed[0, 0, 0], parsed[-1, -1, -1]) == (0, 255, 0, 255)


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (RAMP * 255, "0 .. 255"),
        (RAMP * 2 - 1, "-1 .. 1"),
        (RAMP * 1.05, "0 .. 1.05"),  # a bicubic filter overshoots
        (RAMP * 1.0011, "0 .. 1.0011"),
        (np.full((4, 4, 3), np.nan), "nan"),
    ],
)
def test_what_is_out_of_range_is_refused_with_figures_that_show_it(image, shown):
    with pytest.raises(ValueError, match=rf"must be in \[0, 1\]; got {shown}"):
        parse_image(image)


def test_an_instruction_in_a_text_array_is_read(caplog):
    robot = ROBOTS["libero"]
    native = robot.fake_native(image_hw=(4, 4))
    assert robot.canonical({**native, "prompt": np.array(["go"])}).prompt == "go"
    with pytest.raises(ValueError, match="'prompt' must be text; got ndarray"):
        robot.canonical({**native, "prompt": np.array(["go", "stop"])})
