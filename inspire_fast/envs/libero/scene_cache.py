"""A cache of one simulator, for callers that go through many episodes task by task."""

from __future__ import annotations

from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.suites import find_task


class SceneCache:
    """Keeps the environment of the last task open: building one takes seconds, and each needs up to 2 GB.

    Args:
        settings: of every environment.
        given: an open environment to use for its own task; it stays open.
    """

    def __init__(self, settings: LiberoSettings | None = None, given: LiberoEnvironment | None = None) -> None:
        self._settings, self._given, self._last = settings, given, given

    def get(self, suite: str, task: int | str) -> LiberoEnvironment:
        """The environment of a task; the one of another task is closed first."""
        if self._last is None or self._last.task != find_task(suite, task):
            self.close()
            self._last = LiberoEnvironment(suite, task, self._settings)
        return self._last

    def close(self) -> None:
        """Closes the environment, unless it was given. Calling it twice is harmless."""
        if self._last is not None and self._last is not self._given:
            self._last.close()
        self._last = None
