"""Marks of episodes: what a policy remembers between calls belongs to an episode, not to a connection.

The control loop marks its episode; the mark reaches the policy in the options of every request, through any function
in between:

    infer = in_new_episode(lambda observation: client.infer(observation, options))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
import secrets
from typing import Any

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk

Infer = Callable[[Mapping[str, Any]], ActionChunk]


@dataclass
class EpisodeMark:
    """Name of one episode of one robot, and the number of chunks that it has received so far."""

    name: str = field(default_factory=lambda: secrets.token_hex(8))
    chunks: int = 0

    def on(self, options: RequestOptions) -> RequestOptions:
        """The options with this mark; options that name an episode themselves are returned unchanged."""
        return options if options.episode else replace(options, episode=self.name, chunks=self.chunks)


_current: ContextVar[EpisodeMark | None] = ContextVar("episode", default=None)


def current_episode() -> EpisodeMark | None:
    """The mark of the control loop's episode that this call belongs to; None outside of a control loop."""
    return _current.get()


def marked(options: RequestOptions | None) -> RequestOptions:
    """Options with the mark of the control loop's episode; unchanged outside of a control loop."""
    mark = current_episode()
    options = options or RequestOptions()
    return options if mark is None else mark.on(options)


def in_new_episode(infer: Infer) -> Infer:
    """Wraps a policy's `infer` for one episode of a control loop. The result may be called in any thread."""
    mark = EpisodeMark()

    def marking(observation: Mapping[str, Any]) -> ActionChunk:
        before = _current.set(mark)
        try:
            chunk = infer(observation)
        finally:
            _current.reset(before)
        mark.chunks += 1
        return chunk

    return marking
