"""Measures the scripted experts: their success per LIBERO task, from the suites' fixed initial states. Renders nothing.

    uv run examples/libero/experts.py --table --out runs/experts.jsonl

Every trial is kept in `--out` as one JSON line; run again, it continues where it stopped.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
import json
import multiprocessing
from pathlib import Path
import sys

from tqdm import tqdm
import tyro

from inspire_fast.envs.hand import Variation
from inspire_fast.envs.suites import SUITES, Task, find_task, tasks
from inspire_fast.envs.trials import Trial, try_task


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to try.

    Attributes:
        table: print the table of every task tried; else only the summary.
        tasks: `suite:number` or a whole `suite`; all 130 by default.
        episodes: fixed initial states per task, from number 0 on.
        workers: processes, each with a simulator of up to 2 GB.
        out: JSON lines of the trials; what stands there is not run again.
        variation: the demonstrations' noise and displacements; without, always the plain motion.
        max_steps: an expert that needs more control steps has failed.
    """

    table: bool = False
    tasks: tuple[str, ...] = SUITES
    episodes: int = 5
    workers: int = 2
    out: Path = Path("runs/experts.jsonl")
    variation: bool = True
    max_steps: int = 700
    seed: int = 7


def main(args: Args) -> None:
    """Runs what is not in `out` yet, then prints the table and, last, one JSON object."""
    wanted = [task for name in args.tasks for task in _named(name)]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {trial.key: trial for trial in (Trial(**json.loads(line)) for line in lines)}
    keys = [(task.suite, task.index, episode) for task in wanted for episode in range(args.episodes)]
    bar = tqdm(total=len(keys), initial=sum(key in done for key in keys), desc="trials", unit="ep", disable=None)
    with bar, args.out.open("a") as out:
        for trial in _run(args, wanted, set(done)):
            out.write(json.dumps(asdict(trial)) + "\n")
            out.flush()
            done[trial.key] = trial
            bar.update()
    summary = _summary(args, wanted, done)
    print(json.dumps(summary))


def _named(name: str) -> tuple[Task, ...]:
    suite, _, number = name.partition(":")
    return (find_task(suite, int(number)),) if number else tasks(suite)


def _run(args: Args, wanted: list[Task], done: set[tuple[str, int, int]]) -> Iterator[Trial]:
    """The missing trials, task by task over the workers, in the order in which they end."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, mp_context=context) as pool:
        jobs = []
        for task in wanted:
            missing = [e for e in range(args.episodes) if (task.suite, task.index, e) not in done]
            if missing:
                jobs.append(pool.submit(_try, args, task, missing))
        for job in as_completed(jobs):
            yield from job.result()


def _try(args: Args, task: Task, episodes: list[int]) -> list[Trial]:
    variation = Variation() if args.variation else Variation.none()
    return list(
        try_task(task.suite, task.index, episodes, variation=variation, max_steps=args.max_steps, seed=args.seed)
    )


def _summary(args: Args, wanted: list[Task], done: dict[tuple[str, int, int], Trial]) -> dict[str, object]:
    """Prints a line per task and counts."""
    good, tried = 0, 0
    for task in wanted:
        trials = [done[key] for e in range(args.episodes) if (key := (task.suite, task.index, e)) in done]
        solved = sum(trial.success for trial in trials)
        tried += not all(trial.refused for trial in trials)
        good += bool(trials) and solved >= 0.8 * len(trials)
        reasons = sorted({trial.reason for trial in trials if trial.reason})
        if args.table:
            steps = round(sum(t.steps for t in trials if t.success) / max(1, solved))
            print(
                f"{task.suite}:{task.index:<3} {solved}/{len(trials)} {steps or '-':>4}  {task.prompt}  {'; '.join(reasons)[:160]}"
            )
    return {
        "tasks": len(wanted),
        "tasks_tried": tried,
        "tasks_at_80_percent": good,
        "episodes_per_task": args.episodes,
        "successes": sum(done[k].success for k in done),
        "trials": len(done),
    }


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
