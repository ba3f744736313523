"""The same episodes on a Ray cluster: simulators on many machines, records on this one.

Every machine needs this package with the `sim` extra, and must reach the policy server. Videos come back with the records;
no shared disk is needed. A machine that is lost costs the episodes that it was at, as a dead worker does here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
import importlib
import os
from pathlib import Path
import tempfile
from typing import Any

from inspire_fast.client import PolicyClientError
from inspire_fast.core.files import write_bytes
from inspire_fast.evaluation.run.episodes import Key
from inspire_fast.evaluation.run.evaluate import Run
from inspire_fast.evaluation.run.failures import MachineError, StoppedError
from inspire_fast.evaluation.run.process_workers import Outcome
from inspire_fast.evaluation.run.runner import Asked, Job, Runner
from inspire_fast.evaluation.schedule import Schedule

INSTALL_HINT = "Ray is not installed: `uv sync --extra ray`, or `pip install 'inspire-fast[ray]'`."


def on_ray(connect: Callable[[], Asked], address: str, workers: int) -> Run:
    """Episodes in actors of a cluster, one CPU each.

    Args:
        connect: called once in each actor; its address must be reachable from there.
        address: of the cluster, e.g. `auto` or `10.0.0.1:6379`.
        workers: actors.

    Raises:
        StoppedError: (when it runs) Ray is not installed, or there is no such cluster.
    """
    return lambda job, keys: _run(job, connect, keys, address, workers)


class Simulator:
    """What an actor does: one episode after another, with files in a folder of its own."""

    def __init__(self, job: Job, connect: Callable[[], Asked]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="inspire-fast-episodes-")
        self._job, self._connect = replace(job, out=Path(self._folder.name)), connect
        self._runner: Runner | None = None

    def run(self, key: Key) -> tuple[Outcome | StoppedError, dict[str, bytes]]:
        """The outcome, and what was written beside it, by its path in the folder."""
        try:
            if self._runner is None:
                self._runner = Runner(self._job, self._connect())
            outcome: Outcome | StoppedError = self._runner.run(key)
        except PolicyClientError as error:
            outcome = MachineError("server", str(error))
        except (MachineError, StoppedError) as error:
            outcome = error
        files = {}
        for path in [p for p in self._job.out.rglob("*") if p.is_file()]:
            files[str(path.relative_to(self._job.out))] = path.read_bytes()
            path.unlink()
        return outcome, files


def _run(
    job: Job, connect: Callable[[], Asked], keys: list[Key], address: str, workers: int
) -> Iterator[tuple[Key, Outcome]]:
    ray = _connected(address)
    schedule, actor_class = Schedule(keys), ray.remote(num_cpus=1)(Simulator)
    portable = replace(job, out=Path())
    actors, pending = {}, {}

    def give(number: int) -> None:
        key = schedule.next(number)
        if key is not None:
            pending[actors[number].run.remote(key)] = number, key

    try:
        for number in range(min(workers, len(keys))):
            actors[number] = actor_class.remote(portable, connect)
            give(number)
        while pending:
            (ready, *_), _ = ray.wait(list(pending), num_returns=1)
            number, key = pending.pop(ready)
            try:
                outcome, files = ray.get(ready)
            except ray.exceptions.RayActorError as error:
                outcome, files = MachineError("worker", f"its actor was lost: {error}"), {}
                actors[number] = actor_class.remote(portable, connect)
            if isinstance(outcome, StoppedError):
                raise outcome
            for name, data in files.items():
                write_bytes(job.out / name, data)
            give(number)
            yield key, outcome
    finally:
        for actor in actors.values():
            ray.kill(actor)


def _connected(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise StoppedError(INSTALL_HINT) from error
    if not ray.is_initialized():
        try:
            ray.init(address=address, logging_level="warning")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise StoppedError(f"There is no Ray cluster at {address!r}: {error}") from error
    return ray
