"""Synchronous execution: the first actions of a chunk, then a new observation; the robot holds until the next chunk."""

from __future__ import annotations

from dataclasses import replace

from inspire_fast.core.types import ActionChunk
from inspire_fast.robots.control.execution.base import Decision, Observe
from inspire_fast.robots.control.execution.requests import Requests, held


class Synchronous:
    """Executes the first `execute` actions of each chunk and drops the rest.

        step      0 1 2 3 4 5 6 7 8 9
        asks      x         x
        executes  - - 0 1 2 - - 0 1 2      a delay of two steps, `execute` 3; `-` holds

    A held chunk or a policy that fails yields one step of hold; the next step asks again.

    Args:
        requests: to the policy.
        execute: actions of a chunk to execute (a shorter chunk is used whole).
        patience_s: a reply that takes longer makes the robot hold, and each later step waits a sixth of that time. None
            waits as long as it takes.
    """

    def __init__(self, requests: Requests, *, execute: int, patience_s: float | None = None) -> None:
        if execute < 1:
            raise ValueError(f"execute must be at least 1 action per chunk; got {execute}.")
        self._requests, self._execute, self._patience_s = requests, execute, patience_s
        self._chunk: ActionChunk | None = None
        self._index = self._step = 0

    def reset(self) -> None:
        """Forgets the current chunk: the next step observes and infers."""
        self._chunk = None

    def close(self) -> None:
        """Ends the thread of the requests."""
        self._requests.close()

    def next(self, observe: Observe) -> Decision:
        """See `Execution`."""
        step = self._step
        self._step += 1
        if self._chunk is not None:
            return self._take(self._chunk)
        patience_s = self._patience_s
        if not self._requests.pending:
            self._requests.ask(observe, step)
        elif patience_s is not None:
            patience_s /= 6
        reply = self._requests.reply(step, patience_s)
        if reply is None:
            reason = f"The policy has not answered for {self._requests.waited_s:.2f} s."
            return Decision(action=None, chunk=held(reason), index=0, pending=True)
        self._index = 0
        if reply.chunk.actions is None:
            decision = Decision(action=None, chunk=reply.chunk, index=0)
        else:
            self._chunk = reply.chunk
            decision = self._take(reply.chunk)
        times = {"observe_ms": reply.observe_ms, "infer_ms": reply.infer_ms}
        return replace(decision, observation=reply.observation, delay=step - reply.step, **times)

    def _take(self, chunk: ActionChunk) -> Decision:
        assert chunk.actions is not None  # only executable chunks are kept
        index = self._index
        self._index += 1
        if self._index >= min(self._execute, len(chunk.actions)):
            self._chunk = None
        return Decision(action=chunk.actions[index], chunk=chunk, index=index)
