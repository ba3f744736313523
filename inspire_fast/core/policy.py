"""Policy interface: a native observation and request options in, an action chunk out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from inspire_fast.core.ranges import Count, Finite, Natural, NotNegative, Seed, require_ranges
from inspire_fast.core.types import ActionChunk

Mode = Literal["answer", "skip", "force"]


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """Options of one request: questions, given answers, sampling, deadline.

    Example:
        >>> import inspire_fast as ifa
        >>> options = ifa.RequestOptions(mode="force", targets=["the red block"], answers=["left"])
        >>> chunk = policy.infer(ifa.ROBOTS["libero"].fake_native(), options)
        >>> [(answer.target, answer.answer) for answer in chunk.answers]
        [('the red block', 'left')]

    Attributes:
        mode: `answer` the questions (default), `skip` them, or `force` the given `answers` (oracle or steering).
        targets: phrases to ask about; None lets the policy ground the prompt.
        answers: with `force`, one answer per target and question: all questions about the first target in the script's
            order, then those about the second.
        temperature: of the action tokens; 0 is greedy; must not be negative.
        top_k: draw among the `top_k` likeliest action tokens; 0 is all of them.
        seed: seed of the noise where the temperature is above 0; 0 .. 2^32 - 1. The same request with the same seed
            draws the same actions. None: new noise in every call; no two calls, sessions or rows of a batch share it.
        reask_every: ask on every n-th call with the same targets only; in between, the last answers are given. 1 asks
            on every call.
        session: name of the robot, where one connection (or process) serves several; each has its own last answers.
        episode: name of the episode, unique in the world. What a policy remembers between calls (last answers, the
            place in a replay) belongs to the episode, over any number of connections. "" leaves it to the client and
            the control loop, which mark their episodes by themselves (`core.episode`).
        chunks: how many chunks the episode has received before; counted by whoever marks the episode.
        committed: native actions `[k, a]` that the robot will have executed when the chunk is there, from the
            observation on. The chunk begins with them, and its rest is decoded after them. Only policies whose metadata
            say `takes_committed` can: their action tokenizer writes a chunk step by step (`bins`).
        deadline_s: after this time a server returns an error instead of an answer; 0 is never.
    """

    mode: Mode = "answer"
    targets: Sequence[str] | None = None
    answers: Sequence[str] | None = None
    temperature: NotNegative = 0.0
    top_k: Natural = 0
    seed: Seed | None = None
    reask_every: Count = 1
    session: str = ""
    episode: str = ""
    chunks: Natural = 0
    committed: Sequence[Sequence[Finite]] | None = None
    deadline_s: NotNegative = 0.0

    def __post_init__(self) -> None:
        require_ranges(self)
        if self.mode not in ("answer", "skip", "force"):
            raise ValueError(f"Unknown mode {self.mode!r}; choose one of answer, skip, force.")
        if self.chunks and not self.episode:
            raise ValueError(f"chunks counts those of an episode; got {self.chunks}, episode {self.episode!r}.")
        if (self.mode == "force") != (self.answers is not None):
            raise ValueError(
                f"`answers` and mode='force' go together; got mode={self.mode!r}, answers={self.answers!r}."
            )
        if self.committed is not None:
            try:
                rows = tuple(map(tuple, self.committed))
            except TypeError:
                rows = ()
            if len(lengths := {len(row) for row in rows}) != 1 or 0 in lengths:
                raise ValueError(
                    f"committed must be numbers [k, a], at least one action; got {len(rows)} actions of "
                    f"{sorted(lengths)} dimensions."
                )
            object.__setattr__(self, "committed", rows)

    @property
    def memory_key(self) -> str:
        """Key of what a policy remembers between calls: the same robot in the same episode."""
        return f"{self.episode}/{self.session}" if self.episode else self.session


def policy_name(metadata: Mapping[str, Any]) -> str | None:
    """What tells a policy from any other: its checkpoint, the episode it replays, or the name a person gave it.

    None for a policy whose metadata do not say it, as openpi's servers'.
    """
    return next((str(metadata[key]) for key in ("checkpoint", "replay", "name") if metadata.get(key)), None)


@runtime_checkable
class Policy(Protocol):
    """Native observation in, action chunk out. Implementations are safe to call from one thread at a time."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Facts that a client may rely on: robot, script, horizon, cameras, image orientation (msgpack-able values)."""
        ...

    def infer(self, observation: Mapping[str, Any], options: RequestOptions | None = None) -> ActionChunk:
        """Answers one native (wire-shaped) observation; without options, with the default ones.

        Raises:
            ValueError: the observation does not meet the contract; the message names the key and what was expected.
        """
        ...


@runtime_checkable
class BatchPolicy(Policy, Protocol):
    """A policy that answers several observations in one call, and prepares each beforehand without its model."""

    def prepare(self, observation: Mapping[str, Any], options: RequestOptions) -> Any:
        """Checks, resizes and encodes one observation for `infer_prepared`. Safe to call from any thread at any time.

        Raises:
            ValueError: as `infer`.
        """
        ...

    def infer_prepared(self, prepared: Sequence[Any]) -> list[ActionChunk]:
        """Answers several; none depends on the others. From one thread at a time, like `infer`."""
        ...
