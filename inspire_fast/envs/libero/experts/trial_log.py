"""Log of many trials: run over processes, each written to disk as soon as it ends, and summed up in a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
import multiprocessing
from pathlib import Path
import warnings

from inspire_fast.core.files import append_json_line, read_json_lines
from inspire_fast.envs.libero.experts.trials import Trial, TrialSpec, try_task
from inspire_fast.envs.libero.suites import Task
from inspire_fast.envs.workers import prepare_worker

PASS = 0.8  # of a task's episodes, for a task to count as solved


def read(path: Path, spec: TrialSpec) -> dict[tuple[str, int, int], Trial]:
    """The trials in a file, whose first line is their spec; a line that a kill cut off is ignored.

    Raises:
        ValueError: the file holds trials of another spec, or no trials.
    """
    lines = read_json_lines(path)
    if lines and lines[0] != asdict(spec):
        raise ValueError(f"{path} holds trials of {lines[0]}, now asked for {asdict(spec)}; choose another --out.")
    trials = [Trial(**line) for line in lines[1:]]
    return {trial.key: trial for trial in trials}


def append(path: Path, spec: TrialSpec, trial: Trial) -> None:
    """Adds one trial; a new file begins with the spec."""
    if not read_json_lines(path):
        append_json_line(path, asdict(spec))
    append_json_line(path, asdict(trial))


def run(spec: TrialSpec, missing: Sequence[tuple[Task, Sequence[int]]], workers: int) -> Iterator[Trial]:
    """Trials of each task's episodes, task by task over the workers, in the order in which tasks end.

    A worker that fails or dies loses its task's trials: a warning names the task, and the trials stay missing.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker, initargs=(workers,)) as pool:
        jobs = {pool.submit(_try, spec, task, tuple(episodes)): task for task, episodes in missing}
        for job in as_completed(jobs):
            try:
                yield from job.result()
            except Exception as error:
                task = jobs[job]
                warnings.warn(f"{task.suite}:{task.index} was not measured: {error!r}", stacklevel=2)


def _try(spec: TrialSpec, task: Task, episodes: tuple[int, ...]) -> list[Trial]:
    return list(try_task(task.suite, task.index, episodes, spec))


def row(task: Task, trials: Sequence[Trial]) -> str:
    """A task's line of the table, in Markdown."""
    solved, kept = sum(trial.success for trial in trials), sum(trial.kept for trial in trials)
    steps = round(sum(t.steps for t in trials if t.success) / solved) if solved else "-"
    reasons = sorted({trial.reason for trial in trials if trial.reason})
    return (
        f"| {task.suite}:{task.index} | {solved}/{len(trials)} | {kept}/{len(trials)} | {steps} | {task.prompt} "
        f"| {'; '.join(reasons)[:200]} |"
    )


HEADER = "| task | solved | kept | steps | instruction | reason |\n|---|---|---|---|---|---|"


def summary(tasks: Sequence[Sequence[Trial]]) -> dict[str, int]:
    """Counts over tasks, each given by its trials; a task that the expert refused in every episode is not tried."""
    measured = [trials for trials in tasks if trials]
    return {
        "tasks": len(tasks),
        "tasks_tried": sum(not all(trial.refused for trial in trials) for trials in measured),
        "tasks_at_80_percent": sum(passes([trial.success for trial in trials]) for trials in measured),
        "tasks_at_80_percent_kept": sum(passes([trial.kept for trial in trials]) for trials in measured),
        "trials": sum(map(len, measured)),
        "solved": sum(trial.success for trials in measured for trial in trials),
        "kept": sum(trial.kept for trials in measured for trial in trials),
    }


def passes(outcomes: Sequence[bool]) -> bool:
    """At least `PASS` of the outcomes are true."""
    return sum(outcomes) >= PASS * len(outcomes) > 0
