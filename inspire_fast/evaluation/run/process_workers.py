"""Simulator workers as processes, each with a simulator and a connection to the policy server.

A worker may die (out of memory, a crash of the OpenGL driver): its episode is an infrastructure failure, a new worker
replaces it, and the evaluation continues.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
import contextlib
from dataclasses import dataclass
import multiprocessing
from multiprocessing.connection import Connection, wait
import signal
from typing import Any

from inspire_fast.core.policy import Policy
from inspire_fast.envs.workers import prepare_worker
from inspire_fast.evaluation.records.records import Key
from inspire_fast.evaluation.run.episodes import Schedule
from inspire_fast.evaluation.run.failures import InfrastructureError, StoppedError
from inspire_fast.evaluation.run.runner import ConnectingRunner, Job, Outcome

_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit the parent's threads and OpenGL


def run_in_processes(
    job: Job, connect: Callable[[], Policy], keys: list[Key], *, workers: int
) -> Generator[tuple[Key, Outcome]]:
    """Runs episodes and yields each with its outcome, in order of completion.

    Closing the generator ends the workers. They also end when this process ends, for any reason.

    Args:
        job: options of the runners.
        connect: called once in each worker; must be picklable.
        keys: the episodes.
        workers: processes, at least 1; at most one per episode is started.

    Raises:
        StoppedError: no episode can be run.
    """
    schedule, crew = Schedule(keys, in_rounds=job.in_rounds), {}
    try:
        for number in range(min(workers, len(keys))):
            crew[number] = _Worker.start(number, job, connect, schedule, workers)
        while crew:
            for number in _ready(crew):
                worker = crew[number]
                key, outcome = worker.receive()
                if worker.gone:
                    del crew[number]
                    if len(schedule):
                        crew[number] = _Worker.start(number, job, connect, schedule, workers)
                elif not worker.give(schedule.next(number)):
                    worker.end()
                    del crew[number]
                yield key, outcome
    finally:
        for worker in crew.values():
            worker.end()


@dataclass
class _Worker:
    """The parent's side of a worker."""

    process: Any
    pipe: Connection
    key: Key
    gone: bool = False

    @classmethod
    def start(cls, number: int, job: Job, connect: Callable[[], Policy], schedule: Schedule, workers: int) -> _Worker:
        key = schedule.next(number)
        assert key is not None  # workers start only while episodes are left
        ours, theirs = _SPAWN.Pipe()
        work = (theirs, job, connect, workers)
        process = _SPAWN.Process(target=_serve, args=work, name=f"simulator-{number}", daemon=True)
        process.start()
        theirs.close()
        worker = cls(process=process, pipe=ours, key=key)
        worker.give(key)
        return worker

    def give(self, key: Key | None) -> bool:
        """Sends an episode; False without one."""
        if key is None:
            return False
        self.key = key
        with contextlib.suppress(OSError):  # it is dead; `receive` reports that
            self.pipe.send(key)
        return True

    def receive(self) -> tuple[Key, Outcome]:
        """The outcome of the episode."""
        try:
            outcome = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(timeout=10)
            self.gone = True
            self.pipe.close()
            return self.key, InfrastructureError("worker", f"its process ended {_how(self.process.exitcode)}.")
        if isinstance(outcome, StoppedError):
            raise outcome
        return self.key, outcome

    def end(self) -> None:
        """Ends the process, by force if necessary."""
        self.pipe.close()
        self.process.terminate()
        self.process.join(timeout=5)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()


def _ready(crew: dict[int, _Worker]) -> list[int]:
    by_pipe = {worker.pipe: number for number, worker in crew.items()}
    return sorted(by_pipe[pipe] for pipe in wait(list(by_pipe)) if isinstance(pipe, Connection))


def _how(exitcode: int | None) -> str:
    if exitcode is None:
        return "and left no status"
    if exitcode >= 0:
        return f"with status {exitcode}"
    name = signal.Signals(-exitcode).name
    return f"by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _serve(pipe: Connection, job: Job, connect: Callable[[], Policy], workers: int) -> None:
    """The worker's side: receives episodes and sends outcomes until the pipe closes."""
    prepare_worker(workers)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent ends its workers
    runner = ConnectingRunner(job, connect)
    while True:
        try:
            pipe.send(runner.run(pipe.recv()))
        except (EOFError, OSError):
            break
    runner.close()
