"""The control loop on a small environment: a point that moves by its first action until it has gone far enough."""

import contextlib
import threading

import numpy as np
import pytest

from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.execution.requests import Requests
from inspire_fast.robots.control.execution.synchronous import Synchronous
from inspire_fast.robots.control.pacer import Pacer
from inspire_fast.robots.control.runtime import LoopConfig, run_episode
from inspire_fast.robots.control.safety import SafetyFilter

LIBERO = ROBOTS["libero"]


class Corridor:
    """Solved when `goal` has been walked. Whatever is sent comes back halved, to tell it from what was asked."""

    prompt = "walk"

    def __init__(self, goal=3.0):
        self.goal = goal
        self.position = 0.0
        self.observed = 0
        self.received = []

    def reset(self, episode):
        self.position = float(episode)

    def observe(self):
        self.observed += 1
        return {"observation/state": np.full(8, self.position, np.float32), "prompt": self.prompt}

    def step(self, action):
        self.received.append(action)
        self.position += float(action[0])
        return action / 2

    @property
    def success(self):
        return self.position >= self.goal

    def facts(self):
        return None

    def close(self):
        pass


def forward(observation):
    actions = np.zeros((4, 7), np.float32)
    actions[:, 0] = [0.5, 0.25, 0.125, 0.125]
    actions[:, 6] = 1.0
    return ActionChunk(actions=actions)


def held(observation):
    return ActionChunk(actions=None, status=Status.HELD, reason="no idea")


def run(environment, infer, **options):
    given = {"execute": 2, "max_steps": 20, "simulated": True, **options}
    config = LoopConfig(**{k: given.pop(k) for k in LoopConfig.__dataclass_fields__ if k in given})
    return run_episode(environment, infer, config, **{"safety": SafetyFilter(robot=LIBERO), **given})


def test_it_looks_only_when_a_chunk_is_needed():
    environment, chunks, steps = Corridor(), [], []
    result = run(environment, forward, on_chunk=lambda *a: chunks.append(a), on_step=steps.append)
    assert (result.success, result.stopped, result.steps, result.calls, result.holds) == (True, "success", 8, 4, 0)
    assert environment.observed == 4
    assert [step for step, _, _ in chunks] == [0, 2, 4, 6]
    assert [observation["observation/state"][0] for _, observation, _ in chunks] == [0, 0.75, 1.5, 2.25]
    assert [step.index for step in steps] == [0, 1] * 4
    assert [step.requested[0] for step in steps] == [0.5, 0.25] * 4
    assert [step.sent[0] for step in steps] == [0.25, 0.125] * 4


def test_the_episode_number_reaches_the_environment():
    assert run(Corridor(), forward, episode=2).steps == 3


def test_it_stops_after_max_steps():
    result = run(Corridor(goal=100), forward, max_steps=5)
    assert (result.success, result.stopped, result.steps, result.calls) == (False, "max_steps", 5, 3)
    assert result.timing["wall_s"] > 0


def test_held_chunks_hold_the_robot_and_stop_it_after_a_while():
    environment = Corridor()
    result = run(environment, held, max_holds=3)
    assert (result.stopped, result.steps, result.holds, result.calls) == ("held", 3, 3, 3)
    assert "no idea" in result.reason
    assert environment.received[0].tolist() == list(LIBERO.hold_action)
    assert all(action[:6].tolist() == [0.0] * 6 for action in environment.received)


@pytest.mark.parametrize(
    "error", [RuntimeError("crashed"), TimeoutError("late"), ConnectionError("gone"), ValueError()]
)
def test_a_policy_that_fails_once_costs_one_step_and_keeps_the_gripper(error):
    calls = []

    def infer(observation):
        calls.append(observation)
        if len(calls) == 2:
            raise error
        return forward(observation)

    environment, steps = Corridor(), []
    result = run(environment, infer, on_step=steps.append)
    assert (result.success, result.holds, result.steps, result.calls) == (True, 1, 9, 5)
    assert [step.held for step in steps] == [False, False, True] + [False] * 6
    # Gripper as the environment reports it was last sent (halved), arm at rest.
    assert environment.received[2].tolist() == [0.0] * 6 + [0.5]


def test_a_bug_in_the_policy_is_not_a_hold():
    def infer(observation):
        raise KeyError("typo")

    with pytest.raises(KeyError, match="typo"):
        run(Corridor(), infer)


def test_actions_of_the_wrong_shape_are_refused_and_asked_for_again():
    result = run(Corridor(), lambda _: ActionChunk(actions=np.zeros((4, 3), np.float32)), max_holds=2)
    assert (result.stopped, result.holds, result.calls) == ("held", 2, 2)
    assert "takes 7 floats" in result.reason


def test_the_safety_filter_stands_before_the_environment():
    environment, steps = Corridor(), []
    safety = SafetyFilter(robot=LIBERO, max_change=(0.125,) * 7)
    run(environment, forward, safety=safety, on_step=steps.append, max_steps=2)
    # The first action starts from a hold (0, gripper -1), the second from what was really sent (halved).
    assert [action[0] for action in environment.received] == [0.125, 0.1875]
    assert [action[6] for action in environment.received] == [-0.875, -0.3125]
    assert [step.reasons for step in steps] == [("changed too fast: dx, gripper.",)] * 2


class Clock:
    """Stands in for the module `time`: sleeping is what makes it pass."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    perf_counter = monotonic

    def sleep(self, seconds):
        self.now += seconds


def test_pacing_keeps_the_rate_without_bursts(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("inspire_fast.robots.control.runtime.time", clock)
    monkeypatch.setattr("inspire_fast.robots.control.pacer.time", clock)
    result = run(Corridor(goal=100), forward, control_hz=20, max_steps=11)
    assert result.steps == 11
    assert clock.now == pytest.approx(10 / 20)
    assert result.timing["late_steps"] == 0
    pacer = Pacer(10)
    pacer.wait()
    clock.sleep(0.35)  # two periods late
    pacer.wait()
    assert pacer.late == 1
    late = clock.now
    pacer.wait()
    assert clock.now - late == pytest.approx(0.1)  # the schedule moved: nothing is made up for


def test_times_are_milliseconds_of_looking_asking_and_moving(monkeypatch):
    clock = Clock()
    for module in ("runtime", "execution.requests"):
        monkeypatch.setattr(f"inspire_fast.robots.control.{module}.time", clock)

    class Slow(Corridor):
        def observe(self):
            clock.sleep(0.02 * (1 + self.observed))
            return super().observe()

        def step(self, action):
            clock.sleep(0.004)
            return super().step(action)

    def infer(observation):
        clock.sleep(0.05)
        return forward(observation)

    timing = run(Slow(goal=100), infer, max_steps=4).timing
    expected = {"observe_ms_mean": 30, "observe_ms_max": 40, "infer_ms_mean": 50, "infer_ms_max": 50}
    expected |= {"step_ms_mean": 4, "step_ms_max": 4}
    assert {name: timing[name] for name in expected} == pytest.approx(expected)


def test_a_hold_says_for_how_long_there_was_no_answer(monkeypatch):
    clock, release = Clock(), threading.Event()
    clock.now = 100.0
    monkeypatch.setattr("inspire_fast.robots.control.execution.requests.time", clock)

    def infer(observation):
        clock.sleep(2.5)
        release.wait(5)
        return forward(observation)

    execution = Synchronous(Requests(infer, threaded=True), execute=2, patience_s=0.1)
    with contextlib.closing(execution):
        decision = execution.next(Corridor().observe)
        release.set()
        assert (decision.pending, decision.action) == (True, None)
        assert decision.chunk.reason == "The policy has not answered for 2.50 s."


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_is_positive(rate):
    with pytest.raises(ValueError, match="control_hz must be positive"):
        Pacer(rate)


def test_a_short_chunk_is_used_whole():
    execution = Synchronous(Requests(forward), execute=10)
    observe = Corridor().observe
    assert [execution.next(observe).index for _ in range(6)] == [0, 1, 2, 3, 0, 1]


def test_a_chunk_of_no_actions_holds():
    result = run(Corridor(), lambda _: ActionChunk(actions=np.zeros((0, 7), np.float32)), max_holds=1)
    assert "no actions" in result.reason


@pytest.mark.parametrize("options", [{"execute": 0}, {"max_holds": 0}, {"control_hz": 0.0}])
def test_wrong_settings_are_refused_before_anything_moves(options):
    environment = Corridor()
    with pytest.raises(ValueError, match="must be"):
        run(environment, forward, **options)
    assert environment.received == []
