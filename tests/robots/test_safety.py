from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
import pytest

from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.safety import SafetyFilter, hold_action

LIBERO = ROBOTS["libero"]
FILTER = SafetyFilter(robot=LIBERO)


def test_a_safe_action_passes_unchanged():
    action = np.linspace(-1, 1, 7, dtype=np.float32)
    safe = FILTER.apply(action)
    np.testing.assert_array_equal(safe.action, action)
    assert (safe.reasons, safe.refused) == ((), False)


def test_clipping_names_the_dimensions():
    action = np.zeros(7, np.float32)
    action[[1, 6]] = [-3.0, 2.0]
    safe = FILTER.apply(action)
    assert safe.action.tolist() == [0, -1, 0, 0, 0, 0, 1]
    assert safe.reasons == ("clipped to the robot's limits: dy, gripper.",)
    assert not safe.refused
    assert action[1] == -3.0


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (np.array([0, 0, np.nan, 0, 0, np.inf, 0]), "NaN or infinity in dz, drz"),
        (np.zeros(6), "takes 7 floats; got float64 (6,)"),
        (np.zeros((1, 7)), "(1, 7)"),
        (np.zeros(7, int), "int64"),
    ],
)
def test_what_cannot_be_executed_holds_with_the_gripper_as_it_was(action, reason):
    last_sent = np.array([0.5] * 6 + [1.0], np.float32)
    safe = FILTER.apply(action, last_sent=last_sent)
    assert safe.refused
    assert reason in safe.reasons[0]
    assert safe.action.tolist() == [0] * 6 + [1.0]


def test_holding_keeps_the_gripper():
    assert FILTER.apply(None).action.tolist() == list(LIBERO.hold_action)
    assert hold_action(LIBERO, np.ones(7, np.float32)).tolist() == [0] * 6 + [1.0]


def test_the_rate_limit_bounds_the_change():
    limited = SafetyFilter(robot=LIBERO, max_change=(0.25,) * 6 + (np.inf,))
    action = np.array([1, 0.1, -1, 0, 0, 0, 1], np.float32)
    last_sent = np.array([0, 0, 0, 0, 0, 0, -1], np.float32)
    safe = limited.apply(action, last_sent=last_sent)
    np.testing.assert_allclose(safe.action, [0.25, 0.1, -0.25, 0, 0, 0, 1])
    assert safe.reasons == ("changed too fast: dx, dz.",)


@pytest.mark.parametrize("max_change", [(0.1,) * 6, (0.1,) * 6 + (0.0,), (np.nan,) * 7])
def test_a_wrong_rate_limit_is_refused(max_change):
    with pytest.raises(ValueError, match="7 positive values"):
        SafetyFilter(robot=LIBERO, max_change=max_change)


@given(
    action=hnp.arrays(np.float32, 7) | hnp.arrays(np.float64, 7),
    last_sent=hnp.arrays(np.float32, 7, elements=st.floats(-1, 1, width=32)),
)
def test_whatever_is_asked_what_is_sent_is_within_limits(action, last_sent):
    with np.errstate(over="ignore"):
        safe = SafetyFilter(robot=LIBERO, max_change=(0.1,) * 7).apply(action, last_sent=last_sent)
    assert safe.action.dtype == np.float32
    assert np.isfinite(safe.action).all()
    assert (safe.action >= LIBERO.action_low).all()
    assert (safe.action <= LIBERO.action_high).all()
