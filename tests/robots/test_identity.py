"""A robot is moved by its own policy only, and a policy's memory ends with the episode."""

import dataclasses

import numpy as np
import pytest

from inspire_fast.core.episode import current_episode, in_new_episode, marked
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.identity import WrongPolicyError, require_policy_of, robot_metadata
from inspire_fast.robots.control.runtime import LoopConfig, run_episode
from inspire_fast.robots.control.safety import SafetyFilter

DROID, POSITION = ROBOTS["droid"], ROBOTS["droid_joint_position"]


class Arm:
    prompt, success = "go", False

    def __init__(self, robot):
        self.robot, self.calls = robot, []

    def reset(self, episode):
        self.calls.append("reset")

    def observe(self):
        return self.robot.fake_native(image_hw=(8, 8))

    def step(self, action):
        self.calls.append("step")
        return action

    def facts(self):
        return None

    def close(self): ...


class Policy:
    """Remembers the options that a policy would see."""

    def __init__(self, **metadata):
        self.metadata, self.seen = metadata, []

    def infer(self, observation, options=None):
        self.seen.append(marked(options, self.metadata or None))
        return ActionChunk(actions=np.zeros((4, 8), np.float32))


def run(arm, infer, **options):
    config = LoopConfig(execute=2, max_steps=4)
    return run_episode(arm, infer, config, safety=SafetyFilter(robot=arm.robot), **options)


@pytest.mark.parametrize("name", list(ROBOTS))
def test_every_robot_is_driven_by_its_own_policy_alone(name, caplog):
    for other, robot in ((key, ROBOTS[key]) for key in ROBOTS):
        if other == name:
            require_policy_of(ROBOTS[name], robot_metadata(robot), execute=5)
        else:
            with pytest.raises(WrongPolicyError, match=f"robot: the policy has '{other}', the robot '{name}'"):
                require_policy_of(ROBOTS[name], robot_metadata(robot), execute=5)
    assert not caplog.records


def test_nothing_moves_by_a_policy_of_another_robot():
    arm, policy = Arm(DROID), Policy(**robot_metadata(POSITION))
    wrong = r"action_names: the policy has \['joint_1_rad'.*'joint_1_velocity'"
    with pytest.raises(WrongPolicyError, match=wrong):
        run(arm, policy.infer)
    with pytest.raises(WrongPolicyError, match=wrong):
        run(arm, lambda observation: policy.infer(observation, None), metadata=policy.metadata)
    assert (arm.calls, policy.seen) == ([], [])
    with pytest.raises(WrongPolicyError, match=wrong):
        run(arm, lambda observation: policy.infer(observation, None))  # nobody passes the metadata on
    assert (arm.calls, policy.seen) == (["reset", "step"], [])  # a hold was sent


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action_names": ["joint_1_deg", *DROID.action_names[1:]]}, "joint_1_deg"),
        ({"action_dim": 7}, "action_dim: the policy has 7, the robot 8"),
        ({"state_keys": {"observation/state": 8}}, "state_keys"),
        ({"execute": 10}, "counts on 10 actions of each chunk, not on 5"),
    ],
)
def test_the_same_name_is_not_enough(change, message):
    with pytest.raises(WrongPolicyError, match=message):
        require_policy_of(DROID, {**robot_metadata(DROID), **change}, execute=5)


def test_a_policy_of_another_rate_is_warned_of(caplog):
    metadata = {**robot_metadata(DROID), "control_hz": 10.0}
    require_policy_of(DROID, metadata, execute=5, control_hz=10.05)
    require_policy_of(DROID, metadata, execute=5)
    assert not caplog.records
    require_policy_of(DROID, metadata, execute=5, control_hz=20.0)
    assert "executed at 20 Hz: the robot moves 2 times as fast as in the policy's data" in caplog.text


def test_a_policy_that_says_nothing_of_its_robot_is_warned_of(caplog):
    policy = Policy(**robot_metadata(DROID))
    run(Arm(DROID), lambda observation: policy.infer(observation, None))
    assert not caplog.records
    run(Arm(DROID), Policy().infer)
    assert caplog.text.count("does not say which robot it drives") == 1


def test_each_episode_has_its_own_mark_and_its_chunks_are_counted():
    policy = Policy(**robot_metadata(DROID))
    kept = RequestOptions(reask_every=50)
    for _ in range(2):
        run(Arm(DROID), lambda observation: policy.infer(observation, kept), metadata=policy.metadata)
    first, second = policy.seen[:2], policy.seen[2:]
    assert [options.chunks for options in policy.seen] == [0, 1, 0, 1]
    assert first[0].memory_key == first[1].memory_key != second[0].memory_key == second[1].memory_key
    assert {options.reask_every for options in policy.seen} == {50}
    assert current_episode() is None


def test_a_call_that_failed_is_not_counted_and_a_named_episode_stays():
    seen = []

    def infer(observation):
        seen.append(marked(RequestOptions()))
        if len(seen) == 2:
            raise TimeoutError
        return ActionChunk(actions=np.zeros((4, 8), np.float32))

    asked = in_new_episode(infer)
    asked({})
    with pytest.raises(TimeoutError):
        asked({})
    asked({})
    assert [options.chunks for options in seen] == [0, 1, 1]
    assert len({options.episode for options in seen}) == 1
    named = RequestOptions(episode="mine", chunks=3)
    assert in_new_episode(lambda _: marked(named))({}) is named  # pyright: ignore[reportArgumentType]


def test_chunks_without_an_episode_make_no_sense():
    with pytest.raises(ValueError, match="chunks counts those of an episode"):
        RequestOptions(chunks=1)
    assert dataclasses.replace(RequestOptions(session="left"), episode="e").memory_key == "e/left"


@pytest.mark.parametrize(("hz", "told"), [(15.0, False), (15.1, False), (None, False), (10.0, True), (30.0, True)])
def test_a_loop_at_another_rate_than_the_policys_data_is_warned_of(hz, told, caplog):
    policy = Policy(**robot_metadata(DROID), control_hz=15.0)
    config = LoopConfig(execute=2, max_steps=1, control_hz=hz)  # None: the environment keeps the robot's rate
    run_episode(Arm(DROID), policy.infer, config, safety=SafetyFilter(robot=DROID))
    assert ("meant for 15 Hz and will be executed at" in caplog.text) == told
