"""Interface of the ways of executing chunks: one decision per control step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from inspire_fast.core.types import ActionChunk

Observe = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The action of one control step.

    Attributes:
        action: native action `[a]`, or None: hold.
        chunk: its chunk; `chunk.reason` says why a step is held.
        index: place of the action in the chunk.
        observation: the chunk's observation if its reply came in this step; else None.
        observe_ms, infer_ms: time of that observation, and from the request to the reply.
        delay: control steps from that observation to this one.
        pending: the policy has not answered yet; the robot holds, and the same request is waited for in the next step.
    """

    action: np.ndarray | None
    chunk: ActionChunk
    index: int
    observation: Mapping[str, Any] | None = None
    observe_ms: float = 0.0
    infer_ms: float = 0.0
    delay: int = 0
    pending: bool = False


class Execution(Protocol):
    """One episode's execution of chunks."""

    def next(self, observe: Observe) -> Decision:
        """The decision for this control step. `observe` is called only when the policy is asked."""
        ...

    def reset(self) -> None:
        """Forgets what was planned: nothing of it is executed."""
        ...

    def close(self) -> None:
        """Ends threads, without waiting for a policy that does not answer."""
        ...
