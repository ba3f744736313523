"""Receding-horizon execution: the first actions of a chunk, then a new observation and the next chunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
import logging
import time
from typing import Any

import numpy as np

from inspire_fast.core.episode import Infer
from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.core.worker import Worker
from inspire_fast.robots.control.identity import WrongPolicyError

logger = logging.getLogger(__name__)

Observe = Callable[[], Mapping[str, Any]]

# Errors of a policy, local or on a server, that cannot answer: its own, lost connections and timeouts (OSError),
# observations that it refuses (ValueError). Anything else is a bug and must not look like a held robot.
POLICY_ERRORS = (RuntimeError, OSError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The action of one control step.

    Attributes:
        action: native action `[a]`, or None: hold.
        chunk: its chunk; `chunk.reason` says why a step is held.
        index: place of the action in the chunk.
        observation: the chunk's observation if its reply came in this step; else None.
        observe_ms, infer_ms: time of observation and inference in this step.
        pending: the policy has not answered yet; the robot holds, and the same request is waited for in the next step.
    """

    action: np.ndarray | None
    chunk: ActionChunk
    index: int
    observation: Mapping[str, Any] | None = None
    observe_ms: float = 0.0
    infer_ms: float = 0.0
    pending: bool = False


@dataclass(frozen=True)
class _Request:
    """An observation, how long it took, when it was sent to the policy, and the chunk to come."""

    observation: Mapping[str, Any]
    observe_ms: float
    sent_s: float
    reply: Future[ActionChunk]


class ActionChunkBroker:
    """Executes the first `execute` actions of each chunk and drops the rest.

    A held chunk or a policy that fails yields one step of hold; the next step asks again.
    """

    def __init__(self, infer: Infer, *, execute: int, patience_s: float | None = None) -> None:
        """Takes the policy and how many actions of a chunk to execute (a shorter chunk is used whole).

        With `patience_s` the policy is asked in a thread of its own. A reply that takes longer makes the robot hold,
        and each later step waits a sixth of that time. None waits as long as it takes.
        """
        if execute < 1:
            raise ValueError(f"execute must be at least 1 action per chunk; got {execute}.")
        self._infer = infer
        self._execute = execute
        self._patience_s = patience_s
        self._worker = None if patience_s is None else Worker("policy")
        self._request: _Request | None = None
        self._chunk: ActionChunk | None = None
        self._index = 0

    def reset(self) -> None:
        """Forgets the current chunk: the next step observes and infers."""
        self._chunk = None

    def close(self) -> None:
        """Ends the thread, without waiting for a policy that does not answer."""
        if self._worker is not None:
            self._worker.stop()

    def next(self, observe: Observe) -> Decision:
        """The decision for this control step. `observe` is called only when a new chunk is needed."""
        if self._chunk is not None:
            return self._take(self._chunk)
        patience_s = self._patience_s
        if self._request is None:
            self._request = self._ask(observe)
        elif patience_s is not None:
            patience_s /= 6
        return self._wait(self._request, patience_s)

    def _ask(self, observe: Observe) -> _Request:
        start = time.perf_counter()
        observation = observe()
        sent = time.perf_counter()
        if self._worker is None:
            reply: Future[ActionChunk] = Future()
            reply.set_result(self._reply(observation))
        else:
            reply = self._worker.submit(lambda: self._reply(observation))
        return _Request(observation, 1e3 * (sent - start), sent, reply)

    def _reply(self, observation: Mapping[str, Any]) -> ActionChunk:
        try:
            chunk = _check_chunk(self._infer(observation))
        except WrongPolicyError:
            raise
        except POLICY_ERRORS as error:
            logger.warning("Holding: the policy failed with %s: %s", type(error).__name__, error)
            return ActionChunk(actions=None, status=Status.HELD, reason=f"{type(error).__name__}: {error}")
        if chunk.actions is not None and not len(chunk.actions):
            return ActionChunk(actions=None, status=Status.HELD, reason="The policy sent a chunk of no actions.")
        return chunk

    def _wait(self, request: _Request, patience_s: float | None) -> Decision:
        try:
            chunk = request.reply.result(patience_s)
        except TimeoutError:  # the policy's own is a held chunk
            waited_s = time.perf_counter() - request.sent_s
            reason = f"The policy has not answered for {waited_s:.2f} s."
            return Decision(
                action=None, chunk=ActionChunk(actions=None, status=Status.HELD, reason=reason), index=0, pending=True
            )
        self._request, self._index = None, 0
        if chunk.actions is None:
            decision = Decision(action=None, chunk=chunk, index=0)
        else:
            self._chunk = chunk
            decision = self._take(chunk)
        infer_ms = 1e3 * (time.perf_counter() - request.sent_s)
        return replace(decision, observation=request.observation, observe_ms=request.observe_ms, infer_ms=infer_ms)

    def _take(self, chunk: ActionChunk) -> Decision:
        assert chunk.actions is not None  # only executable chunks are kept
        index = self._index
        self._index += 1
        if self._index >= min(self._execute, len(chunk.actions)):
            self._chunk = None
        return Decision(action=chunk.actions[index], chunk=chunk, index=index)


def _check_chunk(returned: object) -> ActionChunk:
    if not isinstance(returned, ActionChunk):
        raise TypeError(
            f"`infer` returned {type(returned).__name__}; it must return an ActionChunk. In place of openpi's client, "
            "which returns a dict, take `PolicyClient`: it speaks to openpi's servers, too."
        )
    return returned
