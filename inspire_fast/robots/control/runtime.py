"""The control loop: observe, infer, act, until the task is solved, the steps are used up, or the policy fails.

A robot executes its last command until it gets another one: a velocity moves it on. Therefore a hold is the first and
the last command of an episode, however it ends, and is sent whenever the policy keeps the robot waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import contextlib
from dataclasses import dataclass, field
from functools import partial
import logging
import time
from typing import Any, Literal

import numpy as np

from inspire_fast.core.episode import EpisodeMark, Infer, in_new_episode
from inspire_fast.core.ranges import Count, Natural, Positive, require_ranges
from inspire_fast.core.registry import unknown_name
from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.robots.control.cadence import Cadence
from inspire_fast.robots.control.ending import hold_at_the_end, termination_raises
from inspire_fast.robots.control.environment import Environment, check_observation, check_success
from inspire_fast.robots.control.execution.base import Decision, Execution
from inspire_fast.robots.control.execution.registry import ASYNCHRONOUS, PREFIX_FORCED, SYNCHRONOUS, WAYS
from inspire_fast.robots.control.execution.requests import Requests
from inspire_fast.robots.control.execution.synchronous import Synchronous
from inspire_fast.robots.control.frozen import FrozenCameras
from inspire_fast.robots.control.identity import metadata_of, require_policy_of
from inspire_fast.robots.control.operator import Operator
from inspire_fast.robots.control.pacer import Pacer
from inspire_fast.robots.control.safety import SafetyFilter, check_sent, hold_action
from inspire_fast.robots.spec import Robot

logger = logging.getLogger(__name__)

Stopped = Literal["success", "failure", "stopped", "max_steps", "held"]
OnChunk = Callable[[int, Mapping[str, Any], ActionChunk], None]
"""Called with (step, observation, chunk) before the chunk is executed; without delay the facts match both."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One control step that was executed.

    Attributes:
        step: counts from 0.
        requested: what the policy wanted, `[a]`; None on a hold, also while the policy has not answered.
        sent: what the environment reports as executed, `[a]`.
        reasons: what the safety filter changed and why.
        held: the robot held its position.
        index: place of the action in its chunk.
    """

    step: int
    requested: np.ndarray | None
    sent: np.ndarray
    reasons: tuple[str, ...]
    held: bool
    index: int


OnStep = Callable[[Step], None]


@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """The outcome of an episode.

    Attributes:
        success: the environment, or the operator, says that the task is solved.
        stopped: `success`, `max_steps`, `held` (too many holds in a row, waiting for a reply not counted), or the
            operator's `failure` or `stopped`.
        reason: in words; for `held` the policy's last reason.
        steps: control steps executed, holds included; the holds before and after the episode are not.
        calls: chunks asked for.
        holds: steps in which the robot held.
        timing: `wall_s`; mean and max of `observe_ms`, `infer_ms` (per chunk) and `step_ms`; `late_steps` when paced;
            figures of `Cadence`.
    """

    success: bool
    stopped: Stopped
    reason: str
    steps: int
    calls: int
    holds: int
    timing: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Lengths, limits and pace of an episode.

    Attributes:
        execute: actions of each chunk that are executed.
        execution: way of executing chunks: `synchronous` (the robot holds until the next chunk is there), or, with the
            next chunk asked for while the robot moves, `prefetch`, `blended`, `projected` or `prefix_forced`; see
            docs/robots.md.
        max_steps: control steps before the episode counts as failed.
        max_holds: holds in a row after which the episode stops, with the policy's reason.
        control_hz: paces the steps in real time (robots); None runs freely (simulators).
        max_silence: control periods without a reply after which the robot holds, until the reply comes (synchronous).
        simulated: the environment stands still between steps. No hold is sent before the first action, after the last,
            and while the policy is asked, and pictures may repeat.
        delay_steps: with `simulated`: control steps from a request to its reply.
    """

    execute: Count
    max_steps: Count
    execution: str = SYNCHRONOUS
    max_holds: Count = 5
    control_hz: Positive | None = None
    max_silence: Count = 3
    simulated: bool = False
    delay_steps: Natural = 0

    def __post_init__(self) -> None:
        require_ranges(self)
        if self.execution not in WAYS:
            raise ValueError(unknown_name("way of executing chunks", self.execution, WAYS))
        if self.delay_steps and not self.simulated:
            raise ValueError(f"delay_steps={self.delay_steps} is for simulated robots; a real one has its own delay.")


@dataclass
class _Loop:
    """A running episode: its parts, and the counts and times so far."""

    environment: Environment
    execution: Execution
    safety: SafetyFilter
    pacer: Pacer
    cadence: Cadence
    on_chunk: OnChunk | None
    on_step: OnStep | None
    last_sent: np.ndarray | None = None
    moving: bool = False  # the last command was no hold
    first_look: Mapping[str, Any] | None = None
    steps: int = 0
    holds: int = 0
    holds_in_a_row: int = 0
    why_held: str = ""
    start: float = field(default_factory=time.perf_counter)
    times: dict[str, list[float]] = field(default_factory=lambda: {"observe_ms": [], "infer_ms": [], "step_ms": []})

    def begin(self) -> None:
        """Holds where the robot is measured: the reference of the first action's limit, and a test of `step`."""
        self.first_look = check_observation(self.environment.observe())
        robot = self.safety.robot
        state = None if robot.hold_at is None else robot.native_state(self.first_look)
        self._send(hold_action(robot, None, state), moves=False)

    def advance(self, step: int) -> None:
        """Executes one control step."""
        decision = self._decide(step)
        safe = self.safety.apply(decision.action, last_sent=self.last_sent, state=self._state(decision))
        if safe.refused:
            self.execution.reset()
        held = decision.action is None or safe.refused
        self.pacer.wait()
        start = time.perf_counter()
        sent = self._send(safe.action, moves=not held)
        self.times["step_ms"].append(1e3 * (time.perf_counter() - start))
        self.cadence.add(decision, None if held else safe.action)
        self.steps += 1
        self.holds += held
        if not decision.pending:
            self.holds_in_a_row = self.holds_in_a_row + 1 if held else 0
        self.why_held = "; ".join(safe.reasons) or decision.chunk.reason
        if self.on_step is not None:
            self.on_step(
                Step(
                    step=step,
                    requested=decision.action,
                    sent=sent,
                    reasons=safe.reasons,
                    held=held,
                    index=decision.index,
                )
            )

    def pause(self, operator: Operator) -> None:
        """Holds at the control rate, without counting steps, until the operator resumes or ends the episode."""
        self.execution.reset()
        while operator.paused and operator.verdict is None:
            self.pacer.wait()
            self._send(hold_action(self.safety.robot, self.last_sent), moves=False)

    def end(self) -> None:
        """Sends a hold, unless the last command was one or nothing was sent at all."""
        if self.moving:
            self.environment.step(hold_action(self.safety.robot, self.last_sent))
            self.moving = False

    def _send(self, action: np.ndarray, *, moves: bool) -> np.ndarray:
        # Before the step: it may fail after the robot got the command.
        self.last_sent, self.moving = action, self.moving or moves
        self.last_sent = check_sent(self.safety.robot, self.environment.step(action))
        self.moving = moves
        return self.last_sent

    def _observe(self) -> Mapping[str, Any]:
        look, self.first_look = self.first_look, None
        return check_observation(self.environment.observe()) if look is None else look

    def _decide(self, step: int) -> Decision:
        decision = self.execution.next(self._observe)
        if decision.observation is not None:
            self.times["observe_ms"].append(decision.observe_ms)
            self.times["infer_ms"].append(decision.infer_ms)
            if self.on_chunk is not None:
                self.on_chunk(step, decision.observation, decision.chunk)
        return decision

    def _state(self, decision: Decision) -> np.ndarray | None:
        """The measured state if a hold would need it: for robots with `hold_at`, before anything was sent."""
        robot = self.safety.robot
        if robot.hold_at is None or self.last_sent is not None or decision.observation is None:
            return None
        return robot.native_state(decision.observation)

    def result(self, stopped: Stopped, reason: str) -> EpisodeResult:
        timing = {"wall_s": time.perf_counter() - self.start, "late_steps": float(self.pacer.late)}
        timing |= self.cadence.report()
        for name, values in self.times.items():
            timing[f"{name}_mean"] = float(np.mean(values)) if values else 0.0
            timing[f"{name}_max"] = max(values, default=0.0)
        return EpisodeResult(
            success=stopped == "success",
            stopped=stopped,
            reason=reason,
            steps=self.steps,
            calls=len(self.times["infer_ms"]),
            holds=self.holds,
            timing=timing,
        )


def run_episode(
    environment: Environment,
    infer: Infer,
    config: LoopConfig,
    *,
    safety: SafetyFilter,
    metadata: Mapping[str, Any] | None = None,
    episode: int = 0,
    on_chunk: OnChunk | None = None,
    on_step: OnStep | None = None,
    operator: Operator | None = None,
) -> EpisodeResult:
    """Runs one episode. `environment.observe` is called only when the policy is asked.

    Errors of the environment and of the callbacks end the episode and are raised, as Ctrl-C and SIGTERM are, after a
    hold was sent. A first observation without a usable state is raised before anything is sent, if the robot has
    `Robot.hold_at`: it cannot even hold.

    Args:
        environment: a robot or simulator.
        infer: observation -> chunk, e.g. `PolicyClient.infer`. A held chunk, an error or a timeout makes the robot hold
            for one step, then it looks and asks again.
        config: lengths, limits and pace.
        safety: the robot and its limits.
        metadata: of the policy, compared with the robot before anything is sent; by default those of the policy whose
            method `infer` is. Any other function is compared when it asks a policy, before that one answers.
        episode: number given to `environment.reset`.
        on_chunk: called for every chunk, held ones included.
        on_step: called after every step.
        operator: a person who may pause and end the episode.

    Raises:
        WrongPolicyError: the policy drives another robot; nothing was moved.
        ValueError: `step` did not return the action that was sent; see `check_sent`.
        TypeError: `observe`, `success` or `infer` returned something else than a mapping, a truth value, a chunk.
    """
    robot, metadata = safety.robot, metadata_of(infer) if metadata is None else metadata
    control_hz = config.control_hz or robot.control_hz
    compared_hz = None if config.simulated else control_hz
    commits = config.execution == PREFIX_FORCED
    require = partial(require_policy_of, robot, execute=config.execute, control_hz=compared_hz, commits=commits)
    mark = EpisodeMark(require=require)
    if metadata:
        mark.check(metadata)
    infer = in_new_episode(infer, mark)
    if not config.simulated:
        infer = _not_on_frozen_pictures(infer, FrozenCameras(robot), steps=lambda: loop.steps)
    execution = _execution(infer, config, robot, control_hz)
    loop = _Loop(environment, execution, safety, Pacer(config.control_hz), Cadence(robot), on_chunk, on_step)
    with contextlib.closing(execution):
        if config.simulated:
            environment.reset(episode)
            return _run(loop, config, operator)
        with termination_raises(), hold_at_the_end(loop.end):
            environment.reset(episode)
            loop.begin()
            return _run(loop, config, operator)


def _execution(infer: Infer, config: LoopConfig, robot: Robot, control_hz: float) -> Execution:
    requests = Requests(infer, threaded=not config.simulated, delay_steps=config.delay_steps)
    if config.execution != SYNCHRONOUS:
        return ASYNCHRONOUS[config.execution](requests, robot=robot, execute=config.execute)
    patience_s = None if config.simulated else config.max_silence / control_hz
    return Synchronous(requests, execute=config.execute, patience_s=patience_s)


def _not_on_frozen_pictures(infer: Infer, cameras: FrozenCameras, *, steps: Callable[[], int]) -> Infer:
    def checked(observation: Mapping[str, Any]) -> ActionChunk:
        if reason := cameras.check(observation, steps()):
            logger.warning("Holding: %s", reason)
            return ActionChunk(actions=None, status=Status.HELD, reason=reason)
        return infer(observation)

    return checked


def _run(loop: _Loop, config: LoopConfig, operator: Operator | None) -> EpisodeResult:
    for step in range(config.max_steps):
        if operator is not None:
            if operator.paused:
                loop.pause(operator)
            if operator.verdict is not None:
                return loop.result(operator.verdict, "the operator said so")
            if operator.wants_replan():
                loop.execution.reset()
        loop.advance(step)
        if check_success(loop.environment.success):
            return loop.result("success", "the task is solved")
        if loop.holds_in_a_row >= config.max_holds:
            return loop.result("held", f"held {config.max_holds} steps in a row: {loop.why_held}")
    return loop.result("max_steps", f"not solved after {config.max_steps} steps")
