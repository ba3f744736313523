"""Marks of episodes: what a policy remembers between calls belongs to an episode, not to a connection.

The control loop marks its episode; the mark reaches the policy in the options of every request, through any function
in between:

    infer = in_new_episode(lambda observation: client.infer(observation, options))

On the same way the loop learns the metadata of the policy that is really asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
import secrets
from typing import Any

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk

Infer = Callable[[Mapping[str, Any]], ActionChunk]


@dataclass
class EpisodeMark:
    """Name of one episode of one robot, and what the control loop wants of its policy.

    Attributes:
        name: unique.
        chunks: received so far.
        require: takes the metadata of the policy and raises if it is not the loop's.
        checked: `require` was called.
    """

    name: str = field(default_factory=lambda: secrets.token_hex(8))
    chunks: int = 0
    require: Callable[[Mapping[str, Any]], None] | None = None
    checked: bool = False

    def check(self, metadata: Mapping[str, Any]) -> None:
        """Called by a policy before it answers; the first call of the episode decides."""
        if self.require is not None and not self.checked:
            self.require(metadata)
            self.checked = True

    def on(self, options: RequestOptions) -> RequestOptions:
        """The options with this mark, unless they name an episode themselves, and with the committed actions."""
        if (committed := _committed.get()) is not None:
            options = replace(options, committed=committed)
        return options if options.episode else replace(options, episode=self.name, chunks=self.chunks)


_current: ContextVar[EpisodeMark | None] = ContextVar("episode", default=None)
_committed: ContextVar[Sequence[Sequence[float]] | None] = ContextVar("committed", default=None)


def current_episode() -> EpisodeMark | None:
    """The mark of the control loop's episode that this call belongs to; None outside of a control loop."""
    return _current.get()


def marked(options: RequestOptions | None, metadata: Mapping[str, Any] | None = None) -> RequestOptions:
    """Options with the mark of the control loop's episode; unchanged outside of a control loop.

    Args:
        options: of a request to a policy in this process.
        metadata: of that policy, for the control loop; raises what `EpisodeMark.require` does.
    """
    mark = current_episode()
    options = options or RequestOptions()
    if mark is None:
        return options
    if metadata is not None:
        mark.check(metadata)
    return mark.on(options)


def with_committed(infer: Infer, actions: Sequence[Sequence[float]] | None) -> Infer:
    """Wraps a policy's `infer` for requests of a control loop with `RequestOptions.committed`; None: as it is."""

    def committing(observation: Mapping[str, Any]) -> ActionChunk:
        before = _committed.set(actions)
        try:
            return infer(observation)
        finally:
            _committed.reset(before)

    return infer if actions is None else committing


def in_new_episode(infer: Infer, mark: EpisodeMark | None = None) -> Infer:
    """Wraps a policy's `infer` for one episode of a control loop. The result may be called in any thread.

    A policy that has not checked itself by the first answer (some function) is checked as one without metadata.
    """
    mark = mark or EpisodeMark()

    def marking(observation: Mapping[str, Any]) -> ActionChunk:
        before = _current.set(mark)
        try:
            chunk = infer(observation)
        finally:
            _current.reset(before)
        mark.check({})
        mark.chunks += 1
        return chunk

    return marking
