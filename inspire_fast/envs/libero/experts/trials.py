"""Trials of the scripted experts: single episodes without rendering, and the simulator's verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
from dataclasses import dataclass
import time

import numpy as np

from inspire_fast.core.ranges import Count, Natural, require_ranges
from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.controller import Variation
from inspire_fast.envs.libero.experts.registry import EXPERTS

_AFTER_STEPS = 60  # after success, in which the expert lets go and retreats


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """Settings that decide a trial's outcome; trials of different specs are not mixed in one file.

    Attributes:
        expert: name in `registry.EXPERTS`.
        variation: add the demonstrations' noise and displacements.
        max_steps: an expert that needs more control steps has failed.
        seed: of fixture poses and variation.
    """

    expert: str = "carry_out"
    variation: bool = True
    max_steps: Count = 700
    seed: Natural = 7

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One episode of an expert.

    Attributes:
        suite, task, episode: the task, and the number of its fixed initial state.
        success: the goal held after some step, at which LIBERO ends an episode.
        kept: the goal also held after the expert had let go and retreated (at most 60 steps later). LIBERO counts a
            thing as in or on a region while it is still held above it, so `kept` is the stricter metric.
        steps: control steps until success, or all that were executed.
        seconds: wall time of the episode, its reset included.
        reason: empty if solved; else the predicates that do not hold, or the reason why the expert did not try.
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
        """Suite, task, episode."""
        return self.suite, self.task, self.episode


def try_task(suite: str, task: int, episodes: Sequence[int], spec: TrialSpec | None = None) -> Iterator[Trial]:
    """Trials of a task's fixed initial states, one after the other, in one simulator."""
    spec = spec or TrialSpec()
    with contextlib.closing(LiberoEnvironment(suite, task, LiberoSettings(seed=spec.seed))) as environment:
        for episode in episodes:
            yield try_episode(environment, episode, spec)


def try_episode(environment: LiberoEnvironment, episode: int, spec: TrialSpec) -> Trial:
    """Resets to one initial state and lets the expert act, past success, until its own end or `spec.max_steps`."""
    started, steps, solved_at, reason, refused = time.monotonic(), 0, 0, "", False
    variation = Variation() if spec.variation else Variation.none()
    environment.reset(episode)
    try:
        for action in EXPERTS[spec.expert](environment, np.random.default_rng([spec.seed, episode]), variation):
            environment.step(action)
            steps += 1
            if environment.success and not solved_at:
                solved_at = steps
            if steps == (solved_at + _AFTER_STEPS if solved_at else spec.max_steps):
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
