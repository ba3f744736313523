"""Trials of the scripted experts: one episode each, without rendering, and what the simulator says about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
from dataclasses import dataclass
import time

import numpy as np

from inspire_fast.envs.experts import EXPERTS, Variation
from inspire_fast.envs.libero import LiberoEnvironment


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One episode of an expert.

    Attributes:
        suite, task, episode: which; the episode is the number of a fixed initial state.
        success: the simulator's word, after the last step.
        steps: control steps that were executed.
        seconds: wall time of the episode, its reset included.
        reason: why it was not solved: the goal's predicates that do not hold, or why the expert did not try; else empty.
        refused: the expert did not try.
    """

    suite: str
    task: int
    episode: int
    success: bool
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
    with contextlib.closing(LiberoEnvironment(suite, task, seed=seed)) as environment:
        for episode in episodes:
            yield try_episode(
                environment, episode, expert=expert, variation=variation or Variation(), max_steps=max_steps, seed=seed
            )


def try_episode(
    environment: LiberoEnvironment, episode: int, *, expert: str, variation: Variation, max_steps: int, seed: int
) -> Trial:
    """Resets to one initial state and lets the expert act until success, its own end, or `max_steps`."""
    started, steps, reason, refused = time.monotonic(), 0, "", False
    environment.reset(episode)
    try:
        for action in EXPERTS[expert](environment, np.random.default_rng([seed, episode]), variation):
            environment.step(action)
            steps += 1
            if environment.success or steps == max_steps:
                break
    except ValueError as error:
        reason, refused = str(error), steps == 0
    if not environment.success and not reason:
        unmet = ", ".join(" ".join(predicate) for predicate in environment.unmet())
        reason = f"does not hold after {steps} steps: {unmet}"
    return Trial(
        suite=environment.task.suite,
        task=environment.task.index,
        episode=episode,
        success=environment.success,
        steps=steps,
        seconds=round(time.monotonic() - started, 2),
        reason="" if environment.success else reason,
        refused=refused,
    )
