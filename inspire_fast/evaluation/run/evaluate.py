"""An evaluation: a folder of records that is complete once every planned episode has one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.run.episodes import Key
from inspire_fast.evaluation.run.failures import FILE as FAILURES
from inspire_fast.evaluation.run.failures import MachineError, StoppedError, failure
from inspire_fast.evaluation.run.process_workers import Outcome, run_in_processes
from inspire_fast.evaluation.run.runner import Asked, Job, Runner, check_policy
from inspire_fast.evaluation.versions import simulator_versions

OnOutcome = Callable[[Key, Outcome], None]
Run = Callable[[Job, list[Key]], Iterator[tuple[Key, Outcome]]]
"""(job, missing episodes) -> each with its outcome, in the order in which they end."""


def in_processes(connect: Callable[[], Asked], workers: int) -> Run:
    """Episodes in worker processes that ask a server."""
    return lambda job, keys: run_in_processes(job, connect, keys, workers=workers)


def in_this_process(policy: Asked) -> Run:
    """Episodes one after another, asking the policy directly."""

    def run(job: Job, keys: list[Key]) -> Iterator[tuple[Key, Outcome]]:
        runner = Runner(job, policy)
        try:
            for key in keys:
                try:
                    yield key, runner.run(key)
                except MachineError as error:
                    yield key, error
        finally:
            runner.close()

    return run


def evaluate(
    job: Job, keys: list[Key], run: Run, *, patience: int = 3, on_outcome: OnOutcome | None = None
) -> list[EpisodeRecord]:
    """Runs what has no record yet; the same call again goes on where this one was interrupted, however that happened.

    Args:
        job: what is evaluated and how; `job.out` is the folder.
        keys: the planned episodes.
        run: who runs them.
        patience: so many failures of the machine in a row stop the evaluation.
        on_outcome: called for each episode that ended, or failed for the machine's sake.

    Returns:
        The records of the planned episodes, in the plan's order. Those that the machine failed on are missing.

    Raises:
        ValueError: the folder holds another evaluation, or the policy cannot be evaluated so.
        StoppedError: the machine fails at one episode after another, or the disk is full. Repeat to go on.
    """
    check_policy(job.policy, job.protocol, job.answering)
    records.claim(job.out, settings(job), job.policy)
    done = {record.key for record in records.read(job.out)}
    in_a_row = 0
    outcomes = run(job, [key for key in keys if key not in done])
    try:
        for key, outcome in outcomes:
            _write(job.out, key, outcome)
            in_a_row = in_a_row + 1 if isinstance(outcome, MachineError) else 0
            if on_outcome is not None:
                on_outcome(key, outcome)
            if isinstance(outcome, MachineError) and (in_a_row >= patience or outcome.kind in ("disk", "policy")):
                raise StoppedError(
                    f"Stopped after {in_a_row} failure(s) of the machine in a row; the last, {outcome} "
                    "None of them counts. Finished episodes are kept: repeat the command to go on."
                )
    finally:
        close = getattr(outcomes, "close", None)  # generators end their workers
        if close is not None:
            close()
    by_key = {record.key: record for record in records.read(job.out)}
    return [by_key[key] for key in keys if key in by_key]


def settings(job: Job) -> dict[str, Any]:
    """What decides an episode's outcome beside the policy; records of other settings are not mixed with these."""
    return {
        "protocol": asdict(job.protocol),
        "protocol_hash": job.protocol.hash,
        "answers": job.answering,
        "disturbances": {name: severity for name, severity in sorted(job.disturbances.items()) if severity},
        "simulator": simulator_versions(job.protocol),
    }


def _write(folder: Path, key: Key, outcome: Outcome) -> None:
    try:
        if isinstance(outcome, EpisodeRecord):
            records.append(folder, outcome)
        else:
            records.append_line(folder / FAILURES, asdict(failure(key, outcome)))
    except OSError as error:
        raise StoppedError(
            f"{folder} cannot be written to: {error}. This episode is lost and counts for nothing; finished ones are "
            "kept. Make room and repeat the command."
        ) from error
