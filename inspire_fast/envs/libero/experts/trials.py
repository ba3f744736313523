"""Trials of the scripted experts: one episode each, without rendering, and what the simulator says about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
from dataclasses import dataclass
import time

import numpy as np

from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.registry import EXPERTS, Variation

_AFTER_STEPS = 60  # after success, in which the expert lets go and retreats


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One episode of an expert.

    Attributes:
        suite, task, episode: which; the episode is the number of a fixed initial state.
        success: the simulator's word: the goal held after some step, at which LIBERO ends an episode.
        kept: the goal also held once the expert had let go and retreated (at most 60 steps later). LIBERO counts a thing as in
            or on a region while it is still held above it, so that this is the stricter figure.
        steps: control steps until success, or all that were executed.
        seconds: wall time of the episode, its reset included.
        reason: why it was not solved: the goal's predicates that do not hold, or why the expert did not try; else empty.
        refused: the expert did not try.
    """

    suite: str
    task: int
    episode: int
    success: bool
    kept: bool
    steps: int
    seconds: float
    reason: str = ""
    refused: bool = False

    @property
    def key(self) -> tuple[str, int, int]:
        """What a resumed run knows it by."""
        return self.suite, self.task, self.episode


def try_task(
    suite: str,
    task: int,
    episodes: Sequence[int],
    *,
    expert: str = "carry_out",
    variation: Variation | None = None,
    max_steps: int = 600,
    seed: int = 7,
) -> Iterator[Trial]:
    """Lets the expert try a task's fixed initial states, one after the other, in one simulator that never renders."""
    with contextlib.closing(LiberoEnvironment(suite, task, LiberoSettings(seed=seed))) as environment:
        for episode in episodes:
            yield try_episode(
                environment, episode, expert=expert, variation=variation or Variation(), max_steps=max_steps, seed=seed
            )


def try_episode(
    environment: LiberoEnvironment, episode: int, *, expert: str, variation: Variation, max_steps: int, seed: int
) -> Trial:
    """Resets to one initial state and lets the expert act until its own end or `max_steps`, past success."""
    started, steps, solved_at, reason, refused = time.monotonic(), 0, 0, "", False
    environment.reset(episode)
    try:
        for action in EXPERTS[expert](environment, np.random.default_rng([seed, episode]), variation):
            environment.step(action)
            steps += 1
            if environment.success and not solved_at:
                solved_at = steps
            if steps == (solved_at + _AFTER_STEPS if solved_at else max_steps):
                break
    except ValueError as error:
        reason, refused = str(error), steps == 0
    unmet = ", ".join(" ".join(predicate) for predicate in environment.unmet())
    if unmet and not reason:
        reason = f"does not hold at the end, after {steps} steps: {unmet}"
    return Trial(
        suite=environment.task.suite,
        task=environment.task.index,
        episode=episode,
        success=solved_at > 0,
        kept=not unmet,
        steps=solved_at or steps,
        seconds=round(time.monotonic() - started, 2),
        reason=reason if unmet else "",
        refused=refused,
    )
