"""Who runs which episode next. What the result is does not depend on it: an episode is a function of its key."""

from __future__ import annotations

from collections.abc import Iterable

from inspire_fast.evaluation.run.episodes import Key


class Schedule:
    """Episodes that wait, handed out so that a simulator is seldom built anew (which takes seconds).

    A worker goes on with its task while it has episodes; then it takes a task that nobody is at, the one with the most
    episodes first; then it helps with the task that has the most left.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self._waiting: dict[tuple[str, int], list[Key]] = {}
        for key in keys:
            self._waiting.setdefault(key[:2], []).append(key)
        self._at: dict[int, tuple[str, int]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def next(self, worker: int) -> Key | None:
        """The next episode of a worker; None when nothing waits."""
        if not self._waiting:
            return None
        mine = self._at.get(worker)
        if mine not in self._waiting:
            others = {task for other, task in self._at.items() if other != worker}
            free = [task for task in self._waiting if task not in others]
            mine = max(free or self._waiting, key=lambda task: len(self._waiting[task]))
            self._at[worker] = mine
        key = self._waiting[mine].pop(0)
        if not self._waiting[mine]:
            del self._waiting[mine]
        return key
