"""The rate of the data reaches the contract, and errors of angles go the short way round."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspire_fast.robots import ROBOTS
from inspire_fast.training.prepare import control_hz
from inspire_fast.training.reporting.held_out import chunk_error


@pytest.mark.parametrize(
    ("rates", "hz", "told"), [([20], 20, False), ([10, 10], 10, True), ([20, 10], 0, True), ([20, None], 20, False)]
)
def test_the_data_say_the_rate_and_another_one_than_the_robots_is_warned_of(rates, hz, told, caplog) -> None:
    """Single pictures, None here, have no rate."""
    parts: Any = [
        SimpleNamespace(source=SimpleNamespace(dataset=SimpleNamespace(fps=rate or 1), acts=rate is not None))
        for rate in rates
    ]
    assert control_hz(ROBOTS["libero"], parts) == hz
    assert ("robot 'libero' is controlled at 20 Hz" in caplog.text) == told


def test_errors_of_angles_go_the_short_way_round() -> None:
    robot = ROBOTS["inspire_arm"]
    true, decoded = np.zeros((5, 7)), np.zeros((5, 7))
    true[:, 5], decoded[:, 5] = 179_500.0, -179_500.0
    true[:, 0], decoded[:, 0] = 179_500.0, -179_500.0
    np.testing.assert_allclose(chunk_error(robot, decoded, true), [359_000, 0, 0, 0, 0, 1_000, 0])
