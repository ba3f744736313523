"""Asynchronous execution: the next chunk is asked for while the robot moves, and joins the plan when it arrives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
import itertools
from typing import Any

import numpy as np

from inspire_fast.core.types import ActionChunk
from inspire_fast.robots.control.execution.base import Decision, Observe
from inspire_fast.robots.control.execution.requests import Reply, Requests, held
from inspire_fast.robots.spec import Robot

_REMEMBERED = 5  # delays; the largest is expected again
_MARGIN = 1  # steps by which a request leaves earlier than the expected delay demands


@dataclass(frozen=True, kw_only=True)
class Planned:
    """An action `[a]` with its chunk and its place there."""

    action: np.ndarray
    chunk: ActionChunk
    index: int


class Asynchronous(ABC):
    """Base of the asynchronous ways. The plan holds an action for each coming control step.

        step      0 1 2 3 4 5 6 7 8 9
        asks      x     x     x     x      a delay of two steps, `execute` 3, chunks of eight
        executes  - - 2 3 4 2 3 4 2 3      time-aligned: the actions 0 and 1 are of steps that have passed

    A request leaves as early as the next chunk is to take over after `execute` actions of this one; the delay is the
    largest of the last five, measured in control steps. If a reply is late, this chunk is executed further. Once the
    plan is used up the robot holds. A step without an action is never made up for, and nothing that was planned before
    a refused action or a held chunk is executed after it.

    Args:
        requests: to the policy.
        robot: its units.
        execute: actions of a chunk after which the next one is to take over.
    """

    def __init__(self, requests: Requests, *, robot: Robot, execute: int) -> None:
        if execute < 1:
            raise ValueError(f"execute must be at least 1 action per chunk; got {execute}.")
        self._requests, self._robot, self._execute = requests, robot, execute
        self._plan: dict[int, Planned] = {}
        self._delays: deque[int] = deque(maxlen=_REMEMBERED)
        self._step = self._begun = 0

    def prepare(self, observation: Mapping[str, Any], step: int) -> Mapping[str, Any]:
        """The observation of `step` as the policy gets it."""
        del step
        return observation

    def committed(self, step: int) -> np.ndarray | None:
        """Actions `[k, a]` from `step` on that the policy is told; None: it is told none."""
        del step
        return None

    @abstractmethod
    def merge(self, chunk: ActionChunk, actions: np.ndarray, asked: int, step: int) -> dict[int, Planned]:
        """The new plan, from `step` on, when a chunk with the observation of step `asked` has arrived."""

    def ramped(self, plan: dict[int, Planned], step: int, length: int) -> dict[int, Planned]:
        """A new plan whose weight over the old one grows linearly over the `length` steps from `step` on."""
        for place, now in enumerate(range(step, step + length)):
            if now in plan and now in self._plan:
                mixed = self._mix(self._plan[now].action, plan[now].action, (place + 1) / (length + 1))
                plan[now] = replace(plan[now], action=mixed)
        return plan

    def _mix(self, old: np.ndarray, new: np.ndarray, weight: float) -> np.ndarray:
        mixed = self._robot.nearest_turn(old + weight * self._robot.action_turn(old, new))
        grippers = list(self._robot.gripper_dims)
        mixed[grippers] = new[grippers]
        return mixed.astype(np.float32)

    def coming(self, step: int) -> list[np.ndarray]:
        """Planned actions from `step` until the reply to a request of this step is expected."""
        steps = itertools.takewhile(self._plan.__contains__, range(step, step + self.expected_delay))
        return [self._plan[one].action for one in steps]

    @property
    def expected_delay(self) -> int:
        """Control steps from a request to its reply."""
        return max(self._delays, default=0)

    def reset(self) -> None:
        """Forgets the plan, and the reply to come: the next step observes and asks."""
        self._plan = {}
        self._requests.forget()

    def close(self) -> None:
        """Ends the thread of the requests."""
        self._requests.close()

    def next(self, observe: Observe) -> Decision:
        """See `Execution`."""
        step = self._step
        self._step += 1
        reply = self._requests.reply(step)
        refused = None if reply is None else self._receive(reply, step)
        if not self._requests.pending and refused is None and self._due(step):
            self._requests.ask(observe, step, lambda seen: self.prepare(seen, step), self.committed(step))
            if reply is None and (reply := self._requests.reply(step)) is not None:
                refused = self._receive(reply, step)
        decision = self._decide(step) if refused is None else refused
        if reply is None:
            return decision
        times = {"observe_ms": reply.observe_ms, "infer_ms": reply.infer_ms}
        return replace(decision, observation=reply.observation, delay=step - reply.step, **times)

    def _due(self, step: int) -> bool:
        if step not in self._plan:
            return True
        left = max(self._plan) + 1 - step
        return left <= self.expected_delay + _MARGIN or step - self._begun >= self._execute - self.expected_delay

    def _receive(self, reply: Reply, step: int) -> Decision | None:
        """Takes a chunk into the plan; the decision to hold if it has nothing to execute."""
        actions, delay = reply.chunk.actions, step - reply.step
        if actions is None:
            self._plan = {}
            return Decision(action=None, chunk=reply.chunk, index=0)
        if actions.ndim != 2 or actions.shape[1] != self._robot.action_dim:
            self._plan = {}
            reason = f"The policy sent actions of shape {actions.shape}; expected [t, {self._robot.action_dim}]."
            return Decision(action=None, chunk=held(reason), index=0)
        self._delays.append(delay)
        self._plan = self.merge(reply.chunk, actions, reply.step, step)
        self._begun = step
        if step in self._plan:
            return None
        reason = (
            f"The policy answered {delay} control steps after its observation, with a chunk of {len(actions)} actions: "
            "all of them are of steps that have passed. It needs longer chunks, or must answer faster."
        )
        return Decision(action=None, chunk=held(reason), index=0)

    def _decide(self, step: int) -> Decision:
        planned = self._plan.pop(step, None)
        if planned is None:
            reason = f"The policy has not answered for {self._requests.waited_s:.2f} s."
            return Decision(action=None, chunk=held(reason), index=0, pending=True)
        return Decision(action=planned.action, chunk=planned.chunk, index=planned.index)


def aligned(chunk: ActionChunk, actions: np.ndarray, first: int, step: int) -> dict[int, Planned]:
    """The actions of a chunk whose action 0 belongs to step `first`, without those before `step`."""
    return {
        first + index: Planned(action=action, chunk=chunk, index=index)
        for index, action in enumerate(actions)
        if first + index >= step
    }
