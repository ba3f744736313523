"""A stream of targets without its process: time is an argument."""

import re

import numpy as np
import pytest

from inspire_fast.robots.arms.stream import ArmStream, Mode, StreamConfig
from inspire_fast.robots.arms.testing import IdealArm

DT_S = 0.01


class Clock:
    """A stream that is ticked, and the time."""

    def __init__(self, tmp_path, **options):
        self.arm, self.now = IdealArm(faults=tmp_path), 0.0
        limits = self.arm.connect().limits.narrowed(fraction=0.5)
        self.stream = ArmStream(self.arm, limits, StreamConfig(**options), now_s=0.0)

    def tick(self, seconds):
        sent = []
        for _ in range(round(seconds / DT_S)):
            self.now += DT_S
            self.stream.tick(self.now)
            sent.append(self.arm.q.copy())
        return np.array(sent)


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path)


def test_targets_of_a_policy_become_a_smooth_way(clock):
    sent = []
    for step in range(30):  # 15 Hz, 0.3 rad/s
        clock.stream.follow(np.full(7, 0.02 * (step + 1)), 1 / 15, clock.now)
        sent.append(clock.tick(1 / 15))
    way = np.concatenate(sent)[:, 0]
    steps = np.diff(way)[60:]
    assert steps.mean() == pytest.approx(0.3 * DT_S, rel=0.1)
    assert steps.max() < 1.3 * steps.mean()  # no stop and go between the targets
    assert steps.min() > 0.5 * steps.mean()


def test_silence_is_a_hold(clock):
    clock.stream.follow(np.full(7, 0.5), 0.5, clock.now)
    clock.tick(0.7)
    assert clock.stream.mode == Mode.FOLLOWING
    clock.tick(0.3)
    assert clock.stream.mode == Mode.HOLDING
    assert "no new target for 0.3" in clock.stream.reason
    clock.stream.follow(np.full(7, 0.4), 0.2, clock.now)  # and it goes on when targets come again
    clock.tick(0.1)
    assert clock.stream.mode == Mode.FOLLOWING


def test_a_hold_brakes_at_once(clock):
    clock.stream.follow(np.full(7, 1.0), 1.5, clock.now)
    clock.tick(0.5)
    before = clock.arm.q[0]
    clock.stream.hold("told to", clock.now)
    sent = clock.tick(0.5)
    assert sent[-1, 0] - before < 0.1
    assert np.ptp(sent[-10:]) < 1e-4
    assert clock.stream.resting


def test_after_a_stop_nothing_is_followed(clock):
    clock.stream.stop("somebody pressed a key", clock.now)
    clock.stream.follow(np.full(7, 0.5), 0.1, clock.now)
    clock.stream.move_gripper(1.0)
    clock.tick(0.5)
    assert (clock.stream.mode, clock.stream.reason) == (Mode.STOPPED, "somebody pressed a key")
    assert np.abs(clock.arm.q).max() < 1e-4
    assert clock.arm.read().gripper == 0.0


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("frozen", "newest measurement is 0.2. s old"),
        ("lost", "does not answer"),
        ("stuck", "rad behind its command .* something is in its way"),
    ],
)
def test_an_arm_that_does_not_follow_is_a_fault_and_is_sent_nothing_more(clock, tmp_path, fault, words):
    clock.stream.follow(np.full(7, 1.5), 1.5, clock.now)
    clock.tick(0.3)
    (tmp_path / fault).touch()
    clock.tick(1.2)
    assert clock.stream.mode == Mode.FAULTED
    assert re.search(words, clock.stream.reason), clock.stream.reason
    (tmp_path / fault).unlink()
    before = clock.arm.q.copy()
    clock.stream.follow(np.full(7, 0.0), 0.1, clock.now)
    clock.tick(0.5)
    np.testing.assert_array_equal(clock.arm.q, before)


def test_a_measurement_is_old_when_it_has_not_changed_for_so_long(tmp_path):
    clock = Clock(tmp_path, stale_s=0.2)
    clock.now = 1000.0  # monotonic clocks begin anywhere
    clock.tick(0.1)
    (tmp_path / "frozen").touch()
    clock.tick(0.1)
    assert clock.stream.mode != Mode.FAULTED
    clock.tick(0.3)
    assert clock.stream.mode == Mode.FAULTED
    assert re.search(r"newest measurement is 0\.2\d s old", clock.stream.reason)


def test_a_measurement_that_is_no_number_is_a_fault(clock):
    clock.arm.q[2] = np.nan
    clock.tick(0.02)
    assert "NaN or infinity" in clock.stream.reason
    assert clock.stream.mode == Mode.FAULTED


def test_an_arm_that_stands_beyond_the_limits_is_not_taken(tmp_path):
    arm = IdealArm()
    limits = arm.connect().limits
    arm.q = np.full(7, 2.6)
    with pytest.raises(ValueError, match="position to start from is beyond the limits"):
        ArmStream(arm, limits, StreamConfig(), now_s=0.0)


def test_a_stream_of_no_rate_is_refused():
    with pytest.raises(ValueError, match="rate_hz"):
        StreamConfig(rate_hz=0.0)
