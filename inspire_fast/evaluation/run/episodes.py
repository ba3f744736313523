"""Episodes of an evaluation: the list in the order of reporting, and the order in which workers run them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inspire_fast.envs.libero.suites import parse_task
from inspire_fast.evaluation.records.records import Key
from inspire_fast.evaluation.run.protocol import Protocol


def list_episodes(
    protocol: Protocol, *, suites: Sequence[str] = (), only: Sequence[str] = (), episodes: int | None = None
) -> list[Key]:
    """Lists the episodes, suite by suite, task by task.

    Args:
        protocol: gives the suites and the number of trials.
        suites: these instead of the protocol's.
        only: single tasks, `suite:number`, in addition to `suites`; without `suites`, these tasks alone.
        episodes: only the first `episodes` trials of each task.

    Raises:
        ValueError: an unknown suite or task, no step limit for it, or more episodes than the protocol has trials.
        ImportError: the simulator is not installed; tells how to install it.
    """
    chosen = [parse_task(text) for text in only]
    for suite in suites or (() if only else protocol.suites):
        chosen += [(suite, task) for task in range(protocol.task_count(suite))]
    keys: list[Key] = []
    counts = {suite: protocol.task_count(suite) for suite, _ in chosen}
    for suite, task in dict.fromkeys(chosen):
        protocol.limit(suite, task)
        if task >= (count := counts[suite]):
            raise ValueError(f"{suite} has tasks 0..{count - 1}; got {task}.")
        known = protocol.trial_count(suite, task)
        trials = known if episodes is None else episodes
        if not 1 <= trials <= known:
            raise ValueError(f"Protocol {protocol.name!r} has 1..{known} episodes per task; got {episodes}.")
        keys += [(suite, task, episode) for episode in range(trials)]
    return keys


class Schedule:
    """Queue of episodes that changes a worker's task as rarely as possible, because a new simulator takes seconds.

    A worker continues with its task while that has episodes; then it takes the task with the most episodes among those
    that no other worker has; then it helps with the task that has the most left. Results do not depend on the order: an
    episode is a function of its key.

    Args:
        keys: the episodes.
        in_rounds: finish the first initial state of every task before the second one begins; costs new simulators.
    """

    def __init__(self, keys: Iterable[Key], *, in_rounds: bool = False) -> None:
        self._in_rounds = in_rounds
        self._waiting: dict[tuple[str, int], list[Key]] = {}
        for key in keys:
            self._waiting.setdefault(key[:2], []).append(key)
        self._at: dict[int, tuple[str, int]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def next(self, worker: int) -> Key | None:
        """The next episode of a worker; None when no episode is left."""
        if not self._waiting:
            return None
        tasks = list(self._waiting)
        if self._in_rounds:
            now = min(keys[0][2] for keys in self._waiting.values())
            tasks = [task for task in tasks if self._waiting[task][0][2] == now]
        mine = self._at.get(worker)
        if mine not in tasks:
            others = {task for other, task in self._at.items() if other != worker}
            free = [task for task in tasks if task not in others]
            mine = max(free or tasks, key=lambda task: len(self._waiting[task]))
            self._at[worker] = mine
        key = self._waiting[mine].pop(0)
        if not self._waiting[mine]:
            del self._waiting[mine]
        return key
