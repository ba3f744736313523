"""A robot executes its last command until the next one: what it is told first, last, in silence and in doubt."""

from dataclasses import replace
import itertools
import os
import signal
import threading

import numpy as np
import pytest

from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.operator import Operator
from inspire_fast.robots.control.runtime import LoopConfig, run_episode
from inspire_fast.robots.control.safety import SafetyFilter, check_sent, hold_action

DROID, LIBERO = ROBOTS["droid"], ROBOTS["libero"]
ALL = [ROBOTS[name] for name in ROBOTS]
POSITIONS = [robot for robot in ALL if robot.hold_action is None]


class Arm:
    """A robot at a fixed pose; `step` returns what `returns` makes of the action."""

    prompt = "go"

    def __init__(self, robot, returns=np.copy, solved_after=99):
        self.native, self.returns, self.solved_after = robot.fake_native(image_hw=(4, 6)), returns, solved_after
        self.sent, self.looks = [], 0

    @property
    def success(self):
        return len(self.sent) >= self.solved_after

    def reset(self, episode):
        pass

    def observe(self):
        self.looks += 1
        return self.native

    def step(self, action):
        self.sent.append(np.array(action, np.float64))
        return self.returns(action)

    def facts(self):
        return None

    def close(self):
        pass


def moving(observation=None):
    return ActionChunk(actions=np.tile(np.array([0.5] * 7 + [1.0], np.float32), (4, 1)))


def run(arm, infer=moving, robot=DROID, *, max_change=None, on_step=None, operator=None, **options):
    config = LoopConfig(**{"execute": 4, "max_steps": 9, **options})
    safety = SafetyFilter(robot=robot, max_change=max_change)
    return run_episode(arm, infer, config, safety=safety, on_step=on_step, operator=operator)


NO_ACTIONS = {
    "nothing": (lambda action: None, "returned NoneType"),
    "gymnasium's tuple": (lambda action: ({}, 0.0, False, False, {}), "returned tuple"),
    "an observation": (lambda action: {"state": action}, "returned dict"),
    "one number too many": (lambda action: np.append(action, action[:1]), r"returned float32 \("),
    "a row": (lambda action: action[None], r"returned float32 \(1, "),
    "text": (lambda action: action.astype(str), r"returned <U\d+ \("),
    "NaN": (lambda action: action * np.nan, "returned NaN or infinity"),
    "infinity": (lambda action: action + np.inf, "returned NaN or infinity"),
    "another unit": (lambda action: action + 1e9, r"returned \w+ \S+ \(.*beyond the limits .* native units"),
}


@pytest.mark.parametrize("robot", ALL, ids=lambda robot: robot.name)
@pytest.mark.parametrize("kind", NO_ACTIONS)
def test_a_step_that_does_not_return_the_action_ends_the_episode_before_the_first_motion(robot, kind):
    returns, words = NO_ACTIONS[kind]
    arm = Arm(robot, returns)
    with pytest.raises(ValueError, match=rf"^`step` of the environment {words}"):
        run(arm, lambda _: ActionChunk(actions=np.ones((4, robot.action_dim), np.float32)), robot)
    (only,) = arm.sent
    np.testing.assert_array_equal(only, hold_action(robot, None, robot.native_state(arm.native)))


@pytest.mark.parametrize("kind", NO_ACTIONS)
def test_feedback_that_breaks_later_stops_the_arm_with_its_gripper_as_it_was_told(kind):
    arm = Arm(DROID)
    arm.returns = lambda action: NO_ACTIONS[kind][0](action) if len(arm.sent) == 4 else action
    with pytest.raises(ValueError, match=r"^`step` of the environment returned"):
        run(arm)
    assert [action[0] for action in arm.sent] == [0.0, 0.5, 0.5, 0.5, 0.0]
    assert arm.sent[-1].tolist() == [0.0] * 7 + [1.0]


@pytest.mark.parametrize(
    ("success", "got"),
    [
        (lambda arm: "no", "got 'no'"),
        (lambda arm: float("nan"), "got nan"),
        (lambda arm: None, "got None"),
        (lambda arm: np.array([True]), "got array"),
        (lambda arm: arm.reset, r"got a method \(is @property missing\?\)"),
    ],
)
def test_what_is_true_in_python_is_no_success(monkeypatch, success, got):
    monkeypatch.setattr(Arm, "success", property(success))
    with pytest.raises(TypeError, match=f"`success` of the environment must be True or False; {got}"):
        run(arm := Arm(DROID))
    assert arm.sent[-1].tolist() == [0.0] * 7 + [1.0]


@pytest.mark.parametrize("answer", [None, {"actions": np.zeros((4, 8))}, np.zeros((4, 8))])
def test_what_a_policy_returns_is_a_chunk(answer):
    with pytest.raises(TypeError, match=rf"`infer` returned {type(answer).__name__}; it must return an ActionChunk"):
        run(arm := Arm(DROID), lambda _: answer)
    assert not any(action[:7].any() for action in arm.sent)


def test_what_a_robot_observes_is_a_mapping(monkeypatch):
    monkeypatch.setattr(Arm, "observe", lambda arm: None)
    with pytest.raises(
        TypeError, match="`observe` of the environment returned NoneType; it must return the native obs"
    ):
        run(arm := Arm(DROID))
    assert arm.sent == []


def test_what_overshoots_a_limit_by_a_little_counts_as_the_limit():
    assert check_sent(DROID, np.array([1.01] * 7 + [-0.02])).tolist() == [1.0] * 7 + [0.0]


def interrupted(calls=2, error=KeyboardInterrupt):
    asked = []

    def infer(observation):
        asked.append(observation)
        if len(asked) > calls:
            raise error
        return moving()

    return infer


def test_the_last_command_is_a_hold_at_every_ordinary_end():
    for arm, options, stopped in (
        (Arm(DROID), {}, "max_steps"),
        (Arm(DROID), {"infer": lambda _: ActionChunk(actions=None, status=Status.HELD, reason="no")}, "held"),
    ):
        assert run(arm, **options).stopped == stopped
        assert not arm.sent[-1][:7].any()
    solved = Arm(DROID, solved_after=5)
    assert run(solved).stopped == "success"
    assert [action[0] for action in solved.sent] == [0.0, 0.5, 0.5, 0.5, 0.5, 0.0]


def break_at(step):
    if step.step == 3:
        raise ZeroDivisionError("logging failed")


def kill_at(step):
    if step.step == 3:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"infer": interrupted()}, KeyboardInterrupt),
        ({"infer": interrupted(error=KeyError("a bug"))}, KeyError),
        ({"on_step": break_at}, ZeroDivisionError),
        ({"on_step": kill_at}, SystemExit),
    ],
    ids=["Ctrl-C while the policy is asked", "bug of the policy", "callback", "SIGTERM"],
)
def test_the_last_command_is_a_hold_whatever_breaks_the_episode(options, error):
    arm = Arm(DROID)
    with pytest.raises(error) as raised:
        run(arm, **options)
    assert error is not SystemExit or raised.value.code == 128 + signal.SIGTERM  # as shells have it
    assert arm.sent[-2][:7].all()
    assert arm.sent[-1].tolist() == [0.0] * 7 + [1.0]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_camera_that_fails_leaves_a_hold_or_nothing_behind():
    def dies(arm, at):
        def observe():
            arm.looks += 1
            if arm.looks >= at:
                raise RuntimeError("Frame didn't arrive within 5000 ms")
            return arm.native

        arm.observe = observe
        return arm

    arm = dies(Arm(DROID), at=2)
    with pytest.raises(RuntimeError, match="Frame"):
        run(arm)
    assert arm.sent[-1].tolist() == [0.0] * 7 + [1.0]
    never = dies(Arm(DROID), at=1)
    with pytest.raises(RuntimeError, match="Frame"):
        run(never)
    assert never.sent == []


def test_a_robot_that_cannot_be_told_to_hold_is_said_so():
    def returns(action):
        if len(arm.sent) >= 3:
            raise ConnectionError("the robot is gone")
        return action

    arm = Arm(DROID, returns)
    with pytest.raises(ConnectionError) as raised:
        run(arm)
    assert "could not be told to hold" in raised.value.__notes__[0]


def test_a_simulator_gets_its_steps_and_no_others():
    arm = Arm(DROID)
    run(arm, max_steps=4, simulated=True)
    assert [action[0] for action in arm.sent] == [0.5] * 4
    with pytest.raises(ValueError, match=r"`step` of the environment returned NoneType"):
        run(Arm(DROID, lambda action: None), simulated=True)


@pytest.mark.parametrize("hz", [None, 100.0])
def test_a_policy_that_does_not_answer_makes_the_robot_hold_within_a_few_periods(hz):
    release, steps, arm = threading.Event(), [], Arm(DROID)

    def infer(observation):
        release.wait(5)
        return moving()

    def on_step(step):
        steps.append(step)
        if len(steps) == 8:
            release.set()

    fast = DROID if hz else replace(DROID, control_hz=100.0)
    result = run(arm, infer, fast, max_steps=20, max_holds=2, control_hz=hz, on_step=on_step)
    assert result.stopped == "max_steps"  # waiting is no failure of the policy
    assert result.calls >= 1
    assert 8 <= result.holds <= 10
    waiting = arm.sent[1 : 1 + result.holds]
    assert not np.array(waiting)[:, :7].any()
    assert all(step.held and step.requested is None for step in steps[:8])
    assert arm.sent[1 + result.holds][0] == 0.5


@pytest.mark.parametrize("robot", POSITIONS, ids=lambda robot: robot.name)
def test_the_first_target_is_limited_from_the_measured_pose(robot):
    arm, limit = Arm(robot), 0.001 * np.subtract(robot.action_high, robot.action_low)
    far = np.where(robot.hold_at(robot.native_state(arm.native)) > 0, robot.action_low, robot.action_high)
    chunk = ActionChunk(actions=np.tile(far, (4, 1)).astype(np.float32))
    run(arm, lambda _: chunk, robot, max_change=tuple(limit), max_steps=3)
    simulated = Arm(robot)
    run(simulated, lambda _: chunk, robot, max_change=tuple(limit), max_steps=3, simulated=True)
    measured = hold_action(robot, None, robot.native_state(arm.native)).astype(np.float64)
    for path in ([measured, *arm.sent], [measured, *simulated.sent]):
        turns = np.abs([robot.action_turn(a, b) for a, b in itertools.pairwise(path)])
        assert (turns <= limit * 1.01).all()
        assert turns[1].any()


def test_the_first_velocity_is_limited_from_rest():
    safe = SafetyFilter(robot=LIBERO, max_change=(0.25,) * 6 + (np.inf,)).apply(np.ones(7, np.float32))
    assert safe.action.tolist() == [0.25] * 6 + [1.0]


def test_a_frozen_camera_stops_the_arm():
    arm = Arm(LIBERO)

    def observe():
        x = sum(action[0] for action in arm.sent) * 0.05
        arm.native = {**arm.native, "observation/state": np.array([x, *[0.0] * 7], np.float32)}
        return arm.native

    arm.observe = observe
    result = run(arm, lambda _: ActionChunk(actions=np.full((5, 7), 0.3, np.float32)), LIBERO, max_steps=300)
    assert result.stopped == "held"
    assert (  # looked at in steps 0, 4, 8 and 12, which is after half a second, 12 * 0.3 * 0.05 m of 2 m; then held
        "observation/image, observation/wrist_image: the same picture at 8 looks over 16 steps while the arm moved by "
        "9% of its range"
    ) in result.reason
    assert sum(action[0] for action in arm.sent) < 0.3 * 25


@pytest.mark.parametrize("change", ["noise", "still", "one colour"])
def test_pictures_that_change_an_arm_that_rests_and_placeholders_are_not_frozen(change):
    arm, rng = Arm(LIBERO), np.random.default_rng(0)

    def observe():
        x = 0.0 if change == "still" else 0.05 * len(arm.sent)
        native = {**arm.native, "observation/state": np.array([x, *[0.0] * 7], np.float32)}
        for key in LIBERO.cameras:
            if change == "noise":
                native[key] = rng.integers(0, 255, (4, 6, 3), dtype=np.uint8)
            if change == "one colour":
                native[key] = np.zeros((4, 6, 3), np.uint8)
        return native

    arm.observe = observe
    result = run(arm, lambda _: ActionChunk(actions=np.full((5, 7), 0.3, np.float32)), LIBERO, max_steps=60)
    assert (result.stopped, result.holds) == ("max_steps", 0)


def pressing(operator, keys):
    """Presses keys after the steps of these numbers."""

    def on_step(step):
        for key in keys.get(step.step, ""):
            operator.press(key)

    return on_step


@pytest.mark.parametrize(
    ("key", "stopped", "success"), [("s", "success", True), ("f", "failure", False), ("q", "stopped", False)]
)
def test_a_key_ends_the_episode_with_a_hold(key, stopped, success):
    operator, arm = Operator(), Arm(DROID)
    result = run(arm, on_step=pressing(operator, {3: key}), operator=operator)
    assert (result.stopped, result.success, result.steps) == (stopped, success, 4)
    assert arm.sent[-1].tolist() == [0.0] * 7 + [1.0]
    assert operator.left == (key == "q")


def test_a_pause_holds_until_the_key_is_pressed_again_and_nothing_planned_before_is_executed():
    operator, arm, asked = Operator(), Arm(DROID), []

    def infer(observation):
        asked.append(len(arm.sent))
        return moving()

    threading.Timer(0.5, lambda: operator.press(" ")).start()
    result = run(arm, infer, on_step=pressing(operator, {1: " "}), operator=operator, control_hz=50)
    holds = [index for index, action in enumerate(arm.sent) if not action[:7].any()][1:-1]
    assert len(holds) == pytest.approx(25, abs=15)
    assert holds == list(range(3, 3 + len(holds)))
    assert all(arm.sent[index][7] == 1.0 for index in holds)  # the gripper stays
    assert asked[1] == 3 + len(holds)  # a chunk of four was cut after two
    assert (result.steps, result.stopped) == (9, "max_steps")


def test_an_episode_can_be_ended_during_a_pause():
    operator, arm = Operator(), Arm(DROID)
    threading.Timer(0.2, lambda: operator.press("f")).start()
    result = run(arm, on_step=pressing(operator, {1: " "}), operator=operator, control_hz=50)
    assert (result.stopped, result.steps) == ("failure", 2)
    operator.begin()
    assert (operator.paused, operator.verdict) == (False, None)


def test_an_operator_can_have_the_policy_asked_anew():
    operator, arm, asked = Operator(), Arm(DROID), []

    def infer(observation):
        asked.append(len(arm.sent))
        return moving()

    run(arm, infer, on_step=lambda step: step.step == 0 and operator.replan(), operator=operator)
    assert asked[:2] == [1, 2]
    assert not operator.press("x")
