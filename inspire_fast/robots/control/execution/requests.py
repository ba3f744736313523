"""Requests to a policy, one at a time: in this thread, in one of their own, or with a simulated delay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
import logging
import time
from typing import Any

import numpy as np

from inspire_fast.core.episode import Infer, with_committed
from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.core.worker import Worker
from inspire_fast.robots.control.execution.base import Observe
from inspire_fast.robots.control.identity import WrongPolicyError

logger = logging.getLogger(__name__)

# Errors of a policy, local or on a server, that cannot answer: its own, lost connections and timeouts (OSError),
# observations that it refuses (ValueError). Anything else is a bug and must not look like a held robot.
POLICY_ERRORS = (RuntimeError, OSError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A chunk with its request.

    Attributes:
        chunk: held if the policy failed.
        step: control step of the observation.
        observation: as the policy got it.
        observe_ms, infer_ms: time of the observation, and from the request to the reply.
    """

    chunk: ActionChunk
    step: int
    observation: Mapping[str, Any]
    observe_ms: float
    infer_ms: float


@dataclass(frozen=True)
class _Open:
    step: int
    observation: Mapping[str, Any]
    observe_ms: float
    sent_s: float
    future: Future[ActionChunk]


class Requests:
    """At most one open request to a policy.

    Args:
        infer: the policy.
        threaded: ask in a thread of its own, so that the robot can be commanded meanwhile.
        delay_steps: for simulators: the reply comes this many control steps after the request.
    """

    def __init__(self, infer: Infer, *, threaded: bool = False, delay_steps: int = 0) -> None:
        self._infer, self._delay = infer, delay_steps
        self._worker = Worker("policy") if threaded else None
        self._open: _Open | None = None

    @property
    def pending(self) -> bool:
        """A request is open."""
        return self._open is not None

    @property
    def waited_s(self) -> float:
        """Age of the open request; 0 without one."""
        return 0.0 if self._open is None else time.perf_counter() - self._open.sent_s

    def ask(
        self,
        observe: Observe,
        step: int,
        prepare: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        committed: np.ndarray | None = None,
    ) -> None:
        """Observes and asks.

        Args:
            observe: the robot.
            step: of the observation.
            prepare: changes what the policy gets.
            committed: `RequestOptions.committed`.
        """
        start = time.perf_counter()
        seen = observe()
        sent = time.perf_counter()
        observation = seen if prepare is None else prepare(seen)
        if self._worker is None:
            future: Future[ActionChunk] = Future()
            future.set_result(self._answer(observation, committed))
        else:
            future = self._worker.submit(lambda: self._answer(observation, committed))
        self._open = _Open(step, observation, 1e3 * (sent - start), sent, future)

    def reply(self, step: int, patience_s: float | None = 0.0) -> Reply | None:
        """The reply to the open request; None if it has not come within `patience_s` (None: as long as it takes)."""
        asked = self._open
        if asked is None or step < asked.step + self._delay:
            return None
        try:
            chunk = asked.future.result(patience_s)
        except TimeoutError:  # the policy's own is a held chunk
            return None
        self._open = None
        return Reply(
            chunk=chunk,
            step=asked.step,
            observation=asked.observation,
            observe_ms=asked.observe_ms,
            infer_ms=1e3 * (time.perf_counter() - asked.sent_s),
        )

    def forget(self) -> None:
        """Drops the open request. Its reply, when it comes, is nobody's."""
        self._open = None

    def close(self) -> None:
        """Ends the thread, without waiting for a policy that does not answer."""
        if self._worker is not None:
            self._worker.stop()

    def _answer(self, observation: Mapping[str, Any], committed: np.ndarray | None) -> ActionChunk:
        infer = with_committed(self._infer, None if committed is None else committed.tolist())
        try:
            chunk = _check_chunk(infer(observation))
        except WrongPolicyError:
            raise
        except POLICY_ERRORS as error:
            logger.warning("Holding: the policy failed with %s: %s", type(error).__name__, error)
            return held(f"{type(error).__name__}: {error}")
        if chunk.actions is not None and not len(chunk.actions):
            return held("The policy sent a chunk of no actions.")
        return chunk


def _check_chunk(returned: object) -> ActionChunk:
    if not isinstance(returned, ActionChunk):
        raise TypeError(
            f"`infer` returned {type(returned).__name__}; it must return an ActionChunk. In place of openpi's client, "
            "which returns a dict, take `PolicyClient`: it speaks to openpi's servers, too."
        )
    return returned


def held(reason: str) -> ActionChunk:
    """A chunk without actions."""
    return ActionChunk(actions=None, status=Status.HELD, reason=reason)
