"""Two arms in one vector of joints, and grippers among the joints: limits, guard, what may lag."""

import numpy as np
import pytest

from inspire_fast.robots.aloha import action_of_motors, motor_targets, state_of_motors
from inspire_fast.robots.arms.base import ArmReading
from inspire_fast.robots.arms.guard import JointGuard, SideBySideGuard
from inspire_fast.robots.arms.limits import Box, MotionLimits, joined
from inspire_fast.robots.arms.stream import ArmStream, Mode, StreamConfig
from inspire_fast.robots.arms.testing import IdealArm, planar_chain

CHAIN = planar_chain(2)
ARM = MotionLimits(names=("a", "b"), low=[-2, -2], high=[2, 2], velocity=[1, 1], acceleration=[10, 10], jerk=[500, 500])
GRIPPER = MotionLimits(names=("g",), low=[-1], high=[2], velocity=[5], acceleration=[60], jerk=[2000], grippers=(0,))
ONE = joined(ARM, GRIPPER)
BOTH = joined(ONE, ONE)


def guard(box=None):
    limits = ONE.narrowed(box=box)
    return SideBySideGuard(
        parts={name: JointGuard(limits=limits, kinematics=CHAIN, max_lead=0.25) for name in ("left", "right")}
    )


def test_joined_limits_keep_names_and_grippers():
    assert BOTH.names == ("a", "b", "g", "a", "b", "g")
    assert BOTH.grippers == (2, 5)
    assert BOTH.arm.tolist() == [True, True, False, True, True, False]
    with pytest.raises(ValueError, match=r"Grippers are numbers of the joints"):
        MotionLimits(names=("a",), low=[0], high=[1], velocity=[1], acceleration=[1], jerk=[1], grippers=(1,))


def test_each_arm_is_guarded_by_itself_and_grippers_may_lead():
    measured, target = np.zeros(6), np.array([0.1, 0, 1.5, 1.0, 0, -3])
    sent, told = guard().apply(target, measured, measured)
    np.testing.assert_allclose(sent, [0.1, 0, 1.5, 0.25, 0, -1])
    assert told == (
        "right: clipped to the joints' limits: g.",
        "right: clipped to 0.25 rad from the measured pose: a.",
    )


def test_each_arm_has_its_own_box():
    box = Box(low=(-1, -0.05, -1), high=(1, 0.05, 1))
    both, still = guard(box), np.zeros(6)
    assert both.outside(still) == ""
    turned = np.array([0, 0, 0, 0.25, 0, 0])
    sent, told = both.apply(turned, still, still)
    assert 0 < sent[3] < 0.25
    assert len(told) == 1
    assert told[0].startswith("right: stopped at the workspace box: y (m)")
    assert both.outside(turned).startswith("right: y (m)")
    with pytest.raises(ValueError, match="outside of the workspace"):
        both.require_way(still, np.array([0, 0, 0, 1.0, 0, 0]))
    both.require_way(still, np.array([0, 0, 1.0, 0, 0, 0]))


class Held(IdealArm):
    """An arm whose gripper holds something: joint 2 stays."""

    stuck, now = 2, 0.0

    def read(self):
        q = self.q.copy()
        q[self.stuck] = 0.0
        return ArmReading(q=q, dq=np.zeros(3), time_s=self.now, gripper=0.0)


@pytest.mark.parametrize(("stuck", "mode"), [(2, Mode.FOLLOWING), (1, Mode.FAULTED)])
def test_a_gripper_that_holds_something_is_no_fault_and_a_joint_is_one(stuck, mode):
    arm = Held(joints=3)
    arm.stuck, arm.now = stuck, 0.0
    stream = ArmStream(arm, ONE, StreamConfig(rate_hz=50, max_lag=0.3), now_s=0.0)
    for tick in range(1, 60):
        arm.now = tick / 50
        stream.follow(np.array([0.0, 1.0, 1.0]), 0.02, arm.now)
        stream.tick(arm.now)
    assert stream.mode == mode


def test_actions_motors_and_states_of_aloha_belong_together():
    action = np.tile([0.1, -0.9, 1.1, 0, -0.3, 0, 0.4], 2)
    motors = motor_targets(action)
    np.testing.assert_allclose(action_of_motors(motors), action)
    np.testing.assert_allclose(motors[[6, 13]], -0.6213 + 0.4 * (1.4910 + 0.6213))
    state = state_of_motors(motors)
    np.testing.assert_allclose(np.delete(state, [6, 13]), np.delete(action, [6, 13]), atol=1e-6)
    assert state_of_motors(motor_targets(np.ones(14)))[6] == pytest.approx(1.0, abs=0.01)
    assert state_of_motors(motor_targets(np.zeros(14)))[6] == pytest.approx(0.0, abs=0.02)
