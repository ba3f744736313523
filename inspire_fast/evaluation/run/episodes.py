"""Which episodes an evaluation consists of, in the order in which they are reported whoever ran them when."""

from __future__ import annotations

from collections.abc import Sequence

from inspire_fast.envs.libero.suites import find_task, tasks
from inspire_fast.evaluation.run.protocols import Protocol

Key = tuple[str, int, int]
"""Suite, task, episode."""


def plan(
    protocol: Protocol, *, suites: Sequence[str] = (), only: Sequence[str] = (), episodes: int | None = None
) -> list[Key]:
    """The episodes, suite by suite, task by task.

    Args:
        protocol: whose suites and number of trials.
        suites: these instead of the protocol's.
        only: single tasks, `suite:number`, beside `suites`; given without `suites`, nothing else.
        episodes: only the first so many trials of each task.

    Raises:
        ValueError: an unknown suite or task, no step limit for it, or more episodes than the protocol has trials.
        ImportError: the simulator is not installed; says how to.
    """
    trials = protocol.trials if episodes is None else episodes
    if not 1 <= trials <= protocol.trials:
        raise ValueError(f"Protocol {protocol.name!r} has 1..{protocol.trials} episodes per task; got {episodes}.")
    chosen = [_parse(text) for text in only]
    for suite in suites or (() if only else protocol.suites):
        chosen += [(suite, task.index) for task in tasks(suite)]
    for suite, task in chosen:
        protocol.limit(suite)
        find_task(suite, task)
    return [(suite, task, episode) for suite, task in dict.fromkeys(chosen) for episode in range(trials)]


def _parse(text: str) -> tuple[str, int]:
    suite, colon, number = text.rpartition(":")
    if not colon or not number.isdecimal():
        raise ValueError(f"A task is given as suite:number, for example libero_spatial:0; got {text!r}.")
    return suite, int(number)
