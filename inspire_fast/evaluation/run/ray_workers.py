"""Simulator workers on a Ray cluster: simulators on many machines, records on this one.

Every machine needs this package with the `sim` extra and must reach the policy server. Videos come back with the
records, so that no shared disk is needed. A lost machine costs the episodes that it was running, like a dead process.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
import importlib
import os
from pathlib import Path
import tempfile
from typing import Any

from inspire_fast.core.files import write_bytes
from inspire_fast.core.policy import Policy
from inspire_fast.evaluation.records.records import Key
from inspire_fast.evaluation.run.episodes import Schedule
from inspire_fast.evaluation.run.evaluate import Run
from inspire_fast.evaluation.run.failures import InfrastructureError, StoppedError
from inspire_fast.evaluation.run.runner import ConnectingRunner, Job, Outcome

INSTALL_HINT = "Ray is not installed: `uv sync --extra ray`, or `pip install 'inspire-fast[ray]'`."


def on_ray(connect: Callable[[], Policy], address: str, workers: int) -> Run:
    """Runs episodes in actors of a cluster, one CPU each.

    Args:
        connect: called once in each actor, which must reach the address.
        address: of the cluster, e.g. `auto` or `10.0.0.1:6379`.
        workers: number of actors.

    Raises:
        StoppedError: (at the first episode) Ray is not installed, or there is no such cluster.
    """
    return lambda job, keys: _run(job, connect, keys, address, workers)


class Simulator:
    """Ray actor: runs one episode after another, with files in a temporary folder."""

    def __init__(self, job: Job, connect: Callable[[], Policy]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="inspire-fast-episodes-")
        self._out = Path(self._folder.name)
        self._runner = ConnectingRunner(replace(job, out=self._out), connect)

    def run(self, key: Key) -> tuple[Outcome | StoppedError, dict[str, bytes]]:
        """The outcome, and the files written, by their path in the folder."""
        outcome, files = self._runner.run(key), {}
        for path in [p for p in self._out.rglob("*") if p.is_file()]:
            files[str(path.relative_to(self._out))] = path.read_bytes()
            path.unlink()
        return outcome, files


def _run(
    job: Job, connect: Callable[[], Policy], keys: list[Key], address: str, workers: int
) -> Generator[tuple[Key, Outcome]]:
    ray = _connected(address)
    schedule, actor_class = Schedule(keys, in_rounds=job.in_rounds), ray.remote(num_cpus=1)(Simulator)
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
                outcome, files = InfrastructureError("worker", f"its actor was lost: {error}"), {}
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
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # sends nothing to Ray's makers
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
