"""Simulator workers: processes of their own, each with a simulator and a connection to the policy server.

A worker may die (killed for its memory, a crash in the OpenGL driver): its episode is a failure of the machine, another
worker takes its place, and the evaluation goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass
import multiprocessing
from multiprocessing.connection import Connection, wait
import signal
from typing import Any

from inspire_fast.client import PolicyClientError
from inspire_fast.envs.workers import prepare_worker
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.run.episodes import Key
from inspire_fast.evaluation.run.failures import MachineError, StoppedError
from inspire_fast.evaluation.run.runner import Asked, Job, Runner
from inspire_fast.evaluation.schedule import Schedule

Outcome = EpisodeRecord | MachineError
_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit the parent's threads and OpenGL


def run_in_processes(
    job: Job, connect: Callable[[], Asked], keys: list[Key], *, workers: int
) -> Iterator[tuple[Key, Outcome]]:
    """Runs the episodes and yields each as it ends, in no particular order.

    Closing the iterator ends the workers. They end by themselves when this process does, however it ends.

    Args:
        job: what to do.
        connect: called once in each worker; must be picklable.
        keys: which episodes.
        workers: processes, at least 1; not more are started than there are episodes.

    Raises:
        StoppedError: no episode can be run.
    """
    schedule, crew = Schedule(keys), {}
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
    """This side of a worker."""

    process: Any
    pipe: Connection
    key: Key
    gone: bool = False

    @classmethod
    def start(cls, number: int, job: Job, connect: Callable[[], Asked], schedule: Schedule, workers: int) -> _Worker:
        key = schedule.next(number)
        assert key is not None  # only started where something waits
        ours, theirs = _SPAWN.Pipe()
        work = (theirs, job, connect, workers)
        process = _SPAWN.Process(target=_serve, args=work, name=f"simulator-{number}", daemon=True)
        process.start()
        theirs.close()
        worker = cls(process=process, pipe=ours, key=key)
        worker.give(key)
        return worker

    def give(self, key: Key | None) -> bool:
        """Hands over an episode; False where there is none."""
        if key is None:
            return False
        self.key = key
        with contextlib.suppress(OSError):  # it died before; receive() says so
            self.pipe.send(key)
        return True

    def receive(self) -> tuple[Key, Outcome]:
        """What became of the episode."""
        try:
            outcome = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(timeout=10)
            self.gone = True
            self.pipe.close()
            return self.key, MachineError("worker", f"its process ended {_how(self.process.exitcode)}.")
        if isinstance(outcome, StoppedError):
            raise outcome
        return self.key, outcome

    def end(self) -> None:
        """Lets it go, by force if it does not."""
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


def _serve(pipe: Connection, job: Job, connect: Callable[[], Asked], workers: int) -> None:
    """The worker's side: episodes in, outcomes out, until there are no more."""
    prepare_worker(workers)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends its workers
    policy: Asked | None = None
    runner: Runner | None = None
    while True:
        try:
            key = pipe.recv()
        except EOFError:
            break
        try:
            if policy is None or runner is None:
                policy = connect()
                runner = Runner(job, policy)
            outcome = runner.run(key)
        except PolicyClientError as error:  # while connecting; later ones are the runner's
            outcome = MachineError("server", str(error))
        except (MachineError, StoppedError) as error:
            outcome = error
        try:
            pipe.send(outcome)
        except OSError:
            break
    if runner is not None:
        runner.close()
