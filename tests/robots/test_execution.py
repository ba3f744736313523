"""Ways of executing chunks, on an arm that moves by what is sent, with a delay in control steps or a thread."""

from __future__ import annotations

from dataclasses import replace
import time
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from inspire_fast.core.episode import EpisodeMark, in_new_episode, marked
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.execution.prefetch import Prefetch
from inspire_fast.robots.control.execution.registry import ASYNCHRONOUS
from inspire_fast.robots.control.execution.requests import Requests
from inspire_fast.robots.control.identity import WrongPolicyError
from inspire_fast.robots.control.runtime import LoopConfig, run_episode
from inspire_fast.robots.control.safety import SafetyFilter
from inspire_fast.robots.libero import LIBERO

WAYS = sorted(ASYNCHRONOUS)
ABLE = {"robot": "libero", "takes_committed": True}


class Arm:
    """LIBERO's arm in one dimension: each step moves it by 0.0125 m per unit."""

    prompt = "go"
    success = False

    def __init__(self) -> None:
        self.state, self.sent = np.zeros(8, np.float32), []

    def reset(self, episode: int) -> None:
        pass

    def observe(self) -> dict:
        return {"observation/state": self.state.copy(), "prompt": self.prompt}

    def step(self, action: np.ndarray) -> np.ndarray:
        self.sent.append(action)
        self.state[:3] += 0.0125 * action[:3]
        return action

    def facts(self) -> None:
        return None

    def close(self) -> None:
        pass


class Counting:
    """Chunks of `length`: x is the number of the chunk (in hundredths), y the place in it (likewise)."""

    def __init__(self, length: int = 8) -> None:
        self.length, self.seen = length, []

    def __call__(self, observation: dict) -> ActionChunk:
        self.seen.append(observation)
        actions = np.zeros((self.length, 7), np.float32)
        actions[:, 0], actions[:, 1] = len(self.seen) / 100, np.arange(self.length) / 100
        return ActionChunk(actions=actions)


def run(infer, arm=None, metadata=None, **options):
    """The steps of an episode, and its result."""
    steps = []
    config = LoopConfig(**{"execute": 3, "max_steps": 10, "simulated": True, "delay_steps": 2, **options})
    result = run_episode(
        arm or Arm(), infer, config, safety=SafetyFilter(robot=LIBERO), metadata=metadata, on_step=steps.append
    )
    return steps, result


def places(steps) -> str:
    return " ".join("-" if step.held else str(step.index) for step in steps)


def test_the_robot_waits_at_every_seam_when_it_is_synchronous():
    steps, result = run(Counting())
    assert places(steps) == "- - 0 1 2 - - 0 1 2"
    assert (result.timing["idle_steps"], result.timing["delay_steps_max"], result.stopped) == (4, 2, "max_steps")


@pytest.mark.parametrize("way", ["prefetch", "blended"])
def test_actions_of_steps_that_have_passed_are_skipped(way):
    policy = Counting()
    steps, result = run(policy, execution=way)
    assert places(steps) == "- - 2 3 4 2 3 4 2 3"
    assert len(policy.seen) == 4  # at the steps 0, 3, 6 and 9
    assert (result.timing["idle_steps"], result.timing["delay_steps_mean"], result.calls) == (2, 2, 3)


class Delays(Requests):
    """The replies come after these numbers of control steps, the last one again and again."""

    def __init__(self, infer, delays):
        super().__init__(infer)
        self._delays, self.asked = list(delays), []

    def ask(self, observe, step, prepare=None, committed=None):
        self.asked.append(step)
        self._delay = self._delays[min(len(self.asked), len(self._delays)) - 1]
        super().ask(observe, step, prepare, committed)


def decisions(execution, steps):
    arm, made = Arm(), []
    for _ in range(steps):
        made.append(execution.next(arm.observe))
        if made[-1].action is not None:
            arm.step(made[-1].action)
    return made


def test_a_late_reply_uses_the_chunk_up_then_holds_and_resumes_nothing():
    requests = Delays(Counting(), [1, 20, 1])
    made = decisions(Prefetch(requests, robot=LIBERO, execute=3), 27)
    assert [d.index for d in made[1:8]] == [1, 2, 3, 4, 5, 6, 7]
    assert all(d.action is None and d.pending for d in made[8:23])
    late = made[23]
    assert (late.action, late.pending, late.delay) == (None, False, 20)
    assert "20 control steps after its observation, with a chunk of 8 actions" in late.chunk.reason
    assert requests.asked[:3] == [0, 3, 24]
    assert (made[25].index, requests.asked[3]) == (1, 25)  # asked as early as a delay of 20 steps demands


def test_a_policy_whose_chunks_are_always_too_late_ends_the_episode():
    _, result = run(Counting(length=3), execution="prefetch", delay_steps=5, max_steps=200)
    assert (result.stopped, result.holds) == ("held", result.steps)
    assert "needs longer chunks" in result.reason


@settings(max_examples=25)
@given(delays=st.lists(st.integers(0, 6), min_size=1, max_size=12), way=st.sampled_from(WAYS))
def test_an_action_is_executed_at_its_step_or_never_and_the_robot_never_idles_again(delays, way):
    """Chunks of 14: twice the longest delay, and a step in which the reply is taken."""
    seen = []

    def policy(observation):
        seen.append(observation)
        return ActionChunk(actions=np.full((14, 7), len(seen) / 100, np.float32))

    requests = Delays(policy, [6, *delays])
    made = decisions(ASYNCHRONOUS[way](requests, robot=LIBERO, execute=3), 60)
    assert [d.action is None for d in made] == [True] * 6 + [False] * 54
    for step, decision in enumerate(made[6:], start=6):
        number = round(100 * float(decision.chunk.actions[0, 0]))
        first = step - decision.index
        if way == "projected":
            assert requests.asked[number - 1] <= first <= requests.asked[number - 1] + 6
        else:
            assert first == requests.asked[number - 1]
    newest = [round(100 * float(d.chunk.actions[0, 0])) for d in made[6:]]
    assert newest == sorted(newest)


def test_a_seam_is_a_ramp_and_a_gripper_is_switched():
    seen = []

    def policy(observation):
        seen.append(observation)
        action = [0, 0, 0, 0, 0, 0, -1] if len(seen) == 1 else [1, 0, 0, 0, 0, 0, 1]
        return ActionChunk(actions=np.tile(np.float32(action), (12, 1)))

    made = decisions(ASYNCHRONOUS["blended"](Delays(policy, [2]), robot=LIBERO, execute=4), 12)
    actions = np.array([d.action for d in made[2:]])
    np.testing.assert_allclose(actions[:10, 0], [0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1], atol=1e-6)
    np.testing.assert_array_equal(actions[:10, -1], [-1] * 4 + [1] * 6)


def test_an_angle_is_blended_the_short_way_round():
    robot = replace(LIBERO, periods={"drz": 2.0})  # of -1 .. 1
    seen = []

    def policy(observation):
        seen.append(observation)
        return ActionChunk(actions=np.full((12, 7), 0.9 if len(seen) == 1 else -0.9, np.float32))

    made = decisions(ASYNCHRONOUS["blended"](Delays(policy, [1]), robot=robot, execute=4), 9)
    turns = np.array([d.action[5] for d in made[1:]])
    np.testing.assert_allclose(turns[:9], [0.9] * 4 + [0.94, 0.98, -0.98, -0.94], atol=1e-6)


@pytest.mark.parametrize("delay", [0, 1, 4])
def test_the_projected_state_is_the_one_in_which_the_chunk_begins(delay):
    arm, policy, begun = Arm(), Counting(12), {}
    way = ASYNCHRONOUS["projected"](Delays(policy, [delay]), robot=LIBERO, execute=5)
    for _ in range(40):
        before = arm.state.copy()
        decision = way.next(arm.observe)
        if decision.action is None:
            continue
        if decision.index == 0:
            begun[round(100 * decision.chunk.actions[0, 0]) - 1] = before
        arm.step(decision.action)
    assert len(begun) >= 4
    for number, true in begun.items():
        np.testing.assert_allclose(policy.seen[number]["observation/state"], true, atol=1e-6)
        assert policy.seen[number]["prompt"] == "go"


@pytest.mark.parametrize("delay", [0, 1, 4])
def test_committed_actions_are_those_that_are_executed_until_the_reply(delay):
    arm, told, executed = Arm(), [], []

    class Continuing:
        metadata: ClassVar = ABLE

        def infer(self, observation):
            committed = marked(RequestOptions()).committed or ()
            told.append((len(executed), committed))
            chunk = np.full((14, 7), len(told) / 100, np.float32)
            if committed:
                chunk[: len(committed)] = committed
            return ActionChunk(actions=chunk)

    requests = Delays(Continuing().infer, [delay])
    requests._infer = in_new_episode(Continuing().infer, EpisodeMark())
    way = ASYNCHRONOUS["prefix_forced"](requests, robot=LIBERO, execute=5)
    for _ in range(40):
        decision = way.next(arm.observe)
        executed.append(None if decision.action is None else decision.action)
    assert len(told) >= 5
    assert not told[0][1]  # nothing was planned before the first chunk
    for step, committed in told[1:]:
        assert len(committed) == delay
        np.testing.assert_array_equal(
            np.reshape(committed, (-1, 7)), np.reshape(executed[step : step + delay], (-1, 7))
        )


def test_committed_actions_are_refused_to_a_policy_that_does_not_take_them():
    class Fast:
        metadata: ClassVar = {"robot": "libero", "takes_committed": False}
        asked = 0

        def infer(self, observation):
            self.asked += 1
            return ActionChunk(actions=np.zeros((8, 7), np.float32))

    fast, arm = Fast(), Arm()
    with pytest.raises(WrongPolicyError, match="needs a policy that continues committed actions"):
        run(fast.infer, arm, execution="prefix_forced")
    with pytest.raises(WrongPolicyError, match="continues committed actions"):
        run(Counting(), arm, execution="prefix_forced")  # a function says nothing of itself
    assert not arm.sent
    assert not fast.asked


def test_where_actions_lead():
    state, actions = np.linspace(0, 1, 14), np.arange(28).reshape(2, 14) / 28
    lead = ROBOTS["aloha"].state_after
    assert lead is not None
    after = lead(state, actions)
    np.testing.assert_array_equal(np.delete(after, [6, 13]), np.delete(actions[-1], [6, 13]))
    np.testing.assert_array_equal(after[[6, 13]], state[[6, 13]])
    droid = ROBOTS["droid"]
    assert droid.state_after is None
    with pytest.raises(ValueError, match=r"Robot 'droid' does not say .* Choose 'prefetch'"):
        ASYNCHRONOUS["projected"](Requests(Counting()), robot=droid, execute=3)


@pytest.mark.parametrize("way", WAYS)
def test_a_held_chunk_stops_the_robot_at_once(way):
    policy = Counting(12)

    def sometimes(observation):
        if len(policy.seen) == 2:
            policy.seen.append(observation)
            return ActionChunk(actions=None, status=Status.HELD, reason="no idea")
        return policy(observation)

    steps, result = run(sometimes, metadata=ABLE, execution=way, max_steps=20)
    stopped = next(i for i, step in enumerate(steps) if step.held and i > 2)
    assert [step.held for step in steps[2:stopped]] == [False] * (stopped - 2)
    assert [step.held for step in steps[stopped : stopped + 3]] == [True] * 3  # it asks anew, two steps pass
    assert not steps[stopped + 3].held
    assert result.holds == 2 + 3


@pytest.mark.parametrize("way", WAYS)
def test_actions_of_another_robot_are_never_planned(way):
    result = run(lambda _: ActionChunk(actions=np.zeros((12, 3), np.float32)), None, ABLE, execution=way, max_steps=60)[
        1
    ]
    assert result.stopped == "held"
    assert result.holds == result.steps
    assert "shape (12, 3); expected [t, 7]" in result.reason


def test_a_refused_action_drops_the_plan_and_the_reply_to_come():
    policy = Counting(12)

    def broken(observation):
        chunk = policy(observation)
        assert chunk.actions is not None
        if len(policy.seen) == 1:
            chunk.actions[4:] = np.nan  # later than the chunk's own check
        return chunk

    steps, _ = run(broken, execution="prefetch", max_steps=12)
    assert places(steps) == "- - 2 3 - - - 2 3 4 2 3"
    assert "NaN" in steps[4].reasons[0]
    assert [round(100 * step.requested[0]) for step in steps[7:]] == [3, 3, 3, 4, 4]  # not the second, asked before


def test_a_slow_policy_in_a_thread_keeps_the_arm_moving():
    arm, policy = Arm(), Counting(24)

    def slow(observation):
        time.sleep(0.06)
        return policy(observation)

    options = {"simulated": False, "delay_steps": 0, "control_hz": 50.0, "max_steps": 30, "max_holds": 30}
    steps, result = run(slow, arm, execution="prefetch", **options)
    first = next(i for i, step in enumerate(steps) if not step.held)
    assert not any(step.held for step in steps[first:])
    assert result.timing["delay_steps_max"] >= 3
    assert result.timing["idle_steps"] == first
    assert arm.sent[-1][:6].tolist() == [0] * 6  # the last command is a hold


def test_figures_of_the_cadence():
    def policy(observation):
        level = observation["observation/state"][0] * 0
        actions = np.zeros((8, 7), np.float32)
        actions[:, 0] = level + np.arange(8) / 10  # from the last executed action to the next chunk's first
        return ActionChunk(actions=actions)

    _, result = run(policy, delay_steps=0, max_steps=9)
    assert result.timing["inner_jump"] == pytest.approx(0.05)  # 0.1 of a range of 2
    assert result.timing["seam_jump"] == pytest.approx(0.1)
    assert result.timing["idle_steps"] == 0
    assert result.timing["period_ms_max"] >= result.timing["period_ms_p99"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"execution": "prefetched"}, "Did you mean 'prefetch'.*synchronous"),
        ({"simulated": False}, "delay_steps=2 is for simulated robots"),
        ({"delay_steps": -1}, "delay_steps must be"),
    ],
)
def test_wrong_settings_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        run(Counting(), **options)
