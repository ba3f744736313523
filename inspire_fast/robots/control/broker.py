"""Receding-horizon execution: the first actions of a chunk, then a new observation and the next chunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import logging
import time
from typing import Any

import numpy as np

from inspire_fast.core.episode import Infer
from inspire_fast.core.types import ActionChunk, Status

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
        observation: the chunk's observation if it was inferred in this step; else None.
        observe_ms, infer_ms: time of observation and inference in this step.
    """

    action: np.ndarray | None
    chunk: ActionChunk
    index: int
    observation: Mapping[str, Any] | None = None
    observe_ms: float = 0.0
    infer_ms: float = 0.0


class ActionChunkBroker:
    """Executes the first `execute` actions of each chunk and drops the rest.

    A held chunk or a policy that fails yields one step of hold; the next step asks again.
    """

    def __init__(self, infer: Infer, *, execute: int) -> None:
        """Takes the policy and how many actions of a chunk to execute (a shorter chunk is used whole)."""
        if execute < 1:
            raise ValueError(f"execute must be at least 1 action per chunk; got {execute}.")
        self._infer = infer
        self._execute = execute
        self._chunk: ActionChunk | None = None
        self._index = 0

    def reset(self) -> None:
        """Forgets the current chunk: the next step observes and infers."""
        self._chunk = None

    def next(self, observe: Observe) -> Decision:
        """The decision for this control step. `observe` is called only when a new chunk is needed."""
        if self._chunk is None:
            return self._ask(observe)
        return self._take(self._chunk)

    def _ask(self, observe: Observe) -> Decision:
        start = time.perf_counter()
        observation = observe()
        observed = time.perf_counter()
        try:
            chunk = self._infer(observation)
        except POLICY_ERRORS as error:
            logger.warning("Holding: the policy failed with %s: %s", type(error).__name__, error)
            chunk = ActionChunk(actions=None, status=Status.HELD, reason=f"{type(error).__name__}: {error}")
        times = {
            "observe_ms": 1e3 * (observed - start),
            "infer_ms": 1e3 * (time.perf_counter() - observed),
        }
        self._index = 0
        if chunk.actions is None or not len(chunk.actions):
            if chunk.actions is not None:
                chunk = ActionChunk(actions=None, status=Status.HELD, reason="The policy sent a chunk of no actions.")
            return Decision(action=None, chunk=chunk, index=0, observation=observation, **times)
        self._chunk = chunk
        return self._take(chunk, observation=observation, **times)

    def _take(self, chunk: ActionChunk, **asked: Any) -> Decision:
        assert chunk.actions is not None  # only executable chunks are kept
        index = self._index
        self._index += 1
        if self._index >= min(self._execute, len(chunk.actions)):
            self._chunk = None
        return Decision(action=chunk.actions[index], chunk=chunk, index=index, **asked)
