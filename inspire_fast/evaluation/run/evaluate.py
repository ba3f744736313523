"""Resumable evaluation: runs the episodes that have no record in the evaluation's folder yet."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
import contextlib
from dataclasses import asdict
import logging
from pathlib import Path
from typing import Any

from inspire_fast.core.files import append_json_line, lock_folder
from inspire_fast.core.policy import Policy, policy_name
from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.records import EpisodeRecord, Key
from inspire_fast.evaluation.run.episodes import Schedule
from inspire_fast.evaluation.run.failures import FILE as FAILURES
from inspire_fast.evaluation.run.failures import InfrastructureError, StoppedError, failure
from inspire_fast.evaluation.run.process_workers import run_in_processes
from inspire_fast.evaluation.run.runner import Job, Outcome, Runner, check_policy

logger = logging.getLogger(__name__)

OnOutcome = Callable[[Key, Outcome], None]
Enough = Callable[[Sequence[EpisodeRecord]], bool]
Run = Callable[[Job, list[Key]], Generator[tuple[Key, Outcome]]]
"""(job, missing episodes) -> each episode with its outcome, in order of completion."""


def in_processes(connect: Callable[[], Policy], workers: int) -> Run:
    """Runs episodes in worker processes that call a policy server."""
    return lambda job, keys: run_in_processes(job, connect, keys, workers=workers)


def in_this_process(policy: Policy) -> Run:
    """Runs episodes one after another, with a policy in this process."""

    def run(job: Job, keys: list[Key]) -> Generator[tuple[Key, Outcome]]:
        runner, schedule = Runner(job, policy), Schedule(keys, in_rounds=job.in_rounds)
        try:
            while (key := schedule.next(0)) is not None:
                try:
                    yield key, runner.run(key)
                except InfrastructureError as error:
                    yield key, error
        finally:
            runner.close()

    return run


def run_missing_episodes(
    job: Job,
    keys: list[Key],
    run: Run,
    *,
    patience: int = 3,
    on_outcome: OnOutcome | None = None,
    enough: Enough | None = None,
) -> list[EpisodeRecord]:
    """Runs the episodes without a record; repeat the call after an interruption to continue.

    Args:
        job: policy, protocol and options; `job.out` is the folder.
        keys: the wanted episodes.
        run: how they are run, e.g. `in_processes(...)`.
        patience: number of infrastructure failures in a row that stops the evaluation.
        on_outcome: called after each episode, finished or failed.
        enough: called with the wanted records so far after each episode; True ends the evaluation.

    Returns:
        The records of the wanted episodes, in the order of `keys`. Episodes with infrastructure failures are missing,
        and those after an early end.

    Raises:
        ValueError: the folder holds another evaluation, or one of a policy without a name; or the policy does not fit
            the protocol.
        FileExistsError: another process runs an evaluation in this folder.
        StoppedError: `patience` failures in a row, a full disk, or another policy on the server. Repeat to continue.
    """
    check_policy(job.policy, job.protocol, job.answering)
    with lock_folder(job.out, "evaluates into"):
        missing = _missing(job, keys)
        found = [record for record in records.read(job.out) if record.key in set(keys)]
        if enough is None or not enough(found):
            _run(job, run(job, missing), patience, on_outcome, found, enough)
        by_key = {record.key: record for record in records.read(job.out)}
    return [by_key[key] for key in keys if key in by_key]


def _missing(job: Job, keys: list[Key]) -> list[Key]:
    """The episodes without a record, in a folder that holds those of the same policy and settings only."""
    records.claim(job.out, settings(job), job.identity)
    done = {record.key for record in records.read(job.out)}
    if policy_name(job.identity) is None:
        if done:
            raise ValueError(
                f"{job.out} holds episodes of a policy that nothing names, so nobody can tell whether it is this one. "
                "Choose another folder, and name the policy from the start (--policy-name)."
            )
        logger.warning(
            "Nothing names the policy (its metadata: %s). This evaluation cannot be continued after an interruption; "
            "give it a name (--policy-name).",
            dict(job.policy),
        )
    return [key for key in keys if key not in done]


def _run(
    job: Job,
    running: Generator[tuple[Key, Outcome]],
    patience: int,
    on_outcome: OnOutcome | None,
    found: list[EpisodeRecord],
    enough: Enough | None,
) -> None:
    """Writes outcomes as they come, and appends records to `found`, until there are enough."""
    in_a_row = 0
    with contextlib.closing(running) as outcomes:  # closing a generator ends its workers
        for key, outcome in outcomes:
            _write(job.out, key, outcome)
            if on_outcome is not None:
                on_outcome(key, outcome)
            if isinstance(outcome, EpisodeRecord):
                in_a_row = 0
                found.append(outcome)
                if enough is not None and enough(found):
                    return
                continue
            in_a_row += 1
            if in_a_row >= patience or outcome.kind in ("disk", "policy"):
                raise StoppedError(
                    f"Stopped after {in_a_row} infrastructure failure(s) in a row, which do not count as episodes. "
                    f"Finished episodes are kept: repeat the command to continue. The last failure: {outcome}"
                )


def settings(job: Job) -> dict[str, Any]:
    """Everything except the policy that decides an episode's outcome; records of other settings are refused."""
    drawn = {} if job.visual_prompt == "none" else {"visual_prompt": job.visual_prompt}  # older folders lack it
    return {
        **drawn,
        "protocol": asdict(job.protocol),
        "protocol_hash": job.protocol.hash,
        "answers": job.answering,
        "disturbances": {name: severity for name, severity in sorted(job.disturbances.items()) if severity},
        "simulator": job.protocol.simulator_versions() if job.make is None else {},
    }


def _write(folder: Path, key: Key, outcome: Outcome) -> None:
    try:
        if isinstance(outcome, EpisodeRecord):
            records.append(folder, outcome)
        else:
            append_json_line(folder / FAILURES, asdict(failure(key, outcome)))
    except OSError as error:
        raise StoppedError(
            f"{folder} cannot be written: {error}. This episode is lost and does not count; finished ones are kept. "
            "Make room and repeat the command."
        ) from error
