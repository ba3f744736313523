"""Policy server against robot: identity, keys, latency and the first chunk."""

from dataclasses import replace

import numpy as np
import pytest

from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.robots import ROBOTS, LoopConfig
from inspire_fast.robots.control.identity import robot_metadata
from inspire_fast.robots.preflight.finding import Finding, judged
from inspire_fast.robots.preflight.policy import (
    Answered,
    ask,
    contract_findings,
    keys_finding,
    observation_of,
    reply_findings,
)

DROID, POSITIONS, ALOHA = (ROBOTS[name] for name in ("droid", "droid_joint_position", "aloha"))
LOOP = LoopConfig(execute=8, max_steps=1, control_hz=15)
PICTURE = np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8)
FAST = (20.0,) * 10
LEVELS = ((False, False), (False, True), (True, True))  # fails, warns


def levels(found):
    return {one.check: one.level for one in found}


def contract(robot, **more):
    return {**robot_metadata(robot), "checkpoint": "c", "control_hz": robot.control_hz, **more}


def test_the_robots_own_policy_passes():
    assert {*levels(contract_findings(DROID, contract(DROID), LOOP)).values()} == {"ok"}


@pytest.mark.parametrize(
    ("metadata", "expected", "words"),
    [
        (contract(POSITIONS), {"identity": "FAIL"}, "joint_1_velocity"),
        (contract(DROID, control_hz=50.0), {"identity": "ok", "control rate": "warn"}, "made for 50 Hz"),
        ({}, {"identity": "warn", "control rate": "warn"}, "does not say which robot"),
    ],
)
def test_another_contract_is_told(metadata, expected, words):
    found = contract_findings(DROID, metadata, LOOP)
    assert levels(found) == expected
    assert any(words in one.says for one in found)


@pytest.mark.parametrize("robot", [DROID, ALOHA], ids=lambda robot: robot.name)
def test_keys_are_those_of_the_robots_file(robot):
    pictures = dict.fromkeys(robot.cameras, PICTURE)
    assert keys_finding(robot, observation_of(robot, pictures, None, "go")).level == "ok"
    first = next(iter(robot.cameras))
    lacking = keys_finding(robot, observation_of(robot, {}, None, "go"))
    assert lacking.level == "FAIL"
    assert first in lacking.says


def test_degrees_for_radians_are_refused():
    degrees = {"state": np.full(14, 170.0, np.float32)}
    found = keys_finding(ALOHA, observation_of(ALOHA, dict.fromkeys(ALOHA.cameras, PICTURE), degrees, "go"))
    assert found.level == "FAIL"
    assert "degrees for radians" in found.says


def replies(robot, actions, *, times=FAST, loop=LOOP, state=None, measured=True):
    state = np.zeros(robot.state_dim, np.float32) if state is None else state
    chunk = (
        ActionChunk(actions=actions)
        if actions is not None
        else ActionChunk(actions=None, status=Status.HELD, reason="no grammar")
    )
    return reply_findings(robot, state, Answered(chunk=chunk, round_trip_ms=times), loop, measured=measured)


def test_a_usable_chunk_passes():
    assert {*levels(replies(DROID, np.zeros((10, 8), np.float32))).values()} == {"ok"}


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (None, "no grammar"),
        (np.zeros((10, 9), np.float32), "expected [t, 8]"),
        (np.zeros((4, 8), np.float32), "4 actions of 8, 8 executed"),
    ],
)
def test_a_chunk_that_cannot_be_executed_fails(actions, words):
    found = replies(DROID, actions)
    assert levels(found)["chunk"] == "FAIL"
    assert any(words in one.says for one in found)


def test_actions_beyond_the_limits_are_warned_of():
    assert levels(replies(DROID, np.full((10, 8), 5.0, np.float32)))["chunk"] == "warn"


def test_latency_in_control_steps():
    actions = np.zeros((10, 8), np.float32)
    slow = replies(DROID, actions, times=(300.0,) * 10)[0]
    assert slow.level == "warn"
    assert "5 control steps at 15 Hz: 38% of the time idle" in slow.says
    late = replace(LOOP, execution="projected")
    assert levels(replies(DROID, actions, times=(300.0,) * 10, loop=late))["latency"] == "ok"
    assert levels(replies(DROID, actions, times=(400.0,) * 10, loop=late))["latency"] == "FAIL"


def test_a_first_target_far_from_the_measured_pose_is_warned_of():
    state = np.array([0, -0.6, 0, -2.5, 0, 1.9, 0, 0], np.float32)
    near, far = np.tile(state, (10, 1)), np.tile(state, (10, 1))
    far[:, 2] += 0.7
    assert levels(replies(POSITIONS, near, state=state))["first step"] == "ok"
    found = {one.check: one for one in replies(POSITIONS, far, state=state)}
    assert found["first step"].level == "warn"
    assert "0.70 from the measured pose, in joint_3_rad" in found["first step"].says
    assert "first step" not in levels(replies(POSITIONS, far, state=state, measured=False))


class Fails:
    metadata = {}  # noqa: RUF012

    def infer(self, observation, options=None):
        raise RuntimeError("out of memory")


class Counts:
    metadata = {}  # noqa: RUF012
    asked = 0

    def infer(self, observation, options=None):
        self.asked += 1
        return ActionChunk(actions=np.zeros((8, 8), np.float32))


def test_the_first_request_is_not_counted():
    policy = Counts()
    answered = ask(policy, {}, 3)
    assert isinstance(answered, Answered)
    assert (policy.asked, len(answered.round_trip_ms)) == (4, 3)


def test_what_is_ok_needs_no_advice():
    given = [judged("arm", "pose", "fine", fails=fails, warns=warns, do="Move it.") for fails, warns in LEVELS]
    assert [(one.level, one.do) for one in given] == [("ok", ""), ("warn", "Move it."), ("FAIL", "Move it.")]


def test_a_request_that_fails_is_told():
    found = ask(Fails(), {}, 3)
    assert isinstance(found, Finding)
    assert found.level == "FAIL"
    assert found.says == "request 1 failed with RuntimeError: out of memory"
