"""What stands between a policy's action and an arm: actuations, limits, the workspace box, the gripper's gate."""

import time

import numpy as np
import pytest

from inspire_fast.robots.arms.actuation import DeltaPose, JointVelocities
from inspire_fast.robots.arms.guard import GripperGate, JointGuard
from inspire_fast.robots.arms.limits import Box
from inspire_fast.robots.arms.testing import IdealArm, planar_chain

CHAIN = planar_chain(7)


def test_the_guard_stops_at_limits_and_at_the_box():
    limits = IdealArm().connect().limits
    zero, far = np.zeros(7), np.full(7, 0.1)
    inside = JointGuard(limits=limits, kinematics=CHAIN)
    assert inside.apply(far, zero, zero) == (pytest.approx(far), ())
    target, reasons = inside.apply(np.full(7, 9.0), np.full(7, 2.4), zero)
    assert target == pytest.approx(np.full(7, 2.5))
    assert reasons == (f"clipped to the joints' limits: {', '.join(limits.names)}.",)
    tip = CHAIN.pose(zero)[:3, 3]
    boxed = JointGuard(limits=limits.narrowed(box=Box(low=tuple(tip - 0.05), high=tuple(tip + 0.05))), kinematics=CHAIN)
    target, reasons = boxed.apply(np.full(7, 0.2), zero, zero)
    assert boxed.limits.box.outside_m(CHAIN.pose(target)[:3, 3]) == 0.0
    assert target[0] < 0.2
    assert "stopped at the workspace box: " in reasons[0]
    # From outside, what leads back is allowed and what leads further out is not.
    back, reasons = boxed.apply(np.full(7, 0.15), np.full(7, 0.2), np.full(7, 0.2))
    assert (back == pytest.approx(np.full(7, 0.15)), reasons) == (True, ())
    out, reasons = boxed.apply(np.full(7, 0.25), np.full(7, 0.2), np.full(7, 0.2))
    assert out == pytest.approx(np.full(7, 0.2))
    assert reasons
    with pytest.raises(ValueError, match="outside of the workspace box"):
        boxed.require_way(zero, np.full(7, 1.0))
    with pytest.raises(ValueError, match="needs the arm's kinematics"):
        JointGuard(limits=boxed.limits, kinematics=None)


def test_velocities_count_from_the_measured_pose_and_a_hold_does_not_creep():
    velocities, measured, planned = JointVelocities(), np.full(7, 0.1), np.full(7, 0.15)
    target = velocities.target(np.full(7, 0.5), measured, planned)
    assert target == pytest.approx(np.full(7, 0.2))
    assert velocities.action(target, measured, planned) == pytest.approx(np.full(7, 0.5))
    assert velocities.target(np.zeros(7), measured, planned) == pytest.approx(planned)
    assert not velocities.action(planned, measured, planned).any()


def test_end_effector_steps_add_up_on_the_commanded_pose():
    limits = IdealArm().connect().limits
    start = np.array([0.0, -0.9, 0.6, 1.0, 1.2, 0.4, -0.9])
    poses, planned, step = DeltaPose(CHAIN, limits, start), start, np.array([0.01, -0.005, 0.0, 0.0, 0.0, 0.02])
    for _ in range(10):
        target = poses.target(step, np.zeros(7), planned)
        assert poses.action(target, np.zeros(7), planned) == pytest.approx(step, abs=2e-4)
        planned = target
    assert CHAIN.pose(planned)[:3, 3] - CHAIN.pose(start)[:3, 3] == pytest.approx([0.1, -0.05, 0.0], abs=1e-3)


def test_a_gripper_that_flickers_changes_at_its_rate():
    gate = GripperGate(interval_s=0.05)
    commands = [gate.apply(wanted) for wanted in (0.1, 0.9, 0.1, 0.8)]
    assert commands == [(0.0, True), (0.0, False), (0.0, False), (0.0, False)]
    time.sleep(0.06)
    assert gate.apply(0.6) == (1.0, True)
    with pytest.raises(ValueError, match=r"threshold in 0 \.\. 1"):
        GripperGate(threshold=1.5)
