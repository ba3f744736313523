"""Success of the scripted experts per LIBERO task, from the suites' fixed initial states, without rendering.

    uv run examples/libero/experts.py --table --out runs/experts.jsonl

Every trial is one JSON line in `--out`; repeat the command after an interruption to continue. The last line printed is
a JSON object with the counts.
"""

import json
import os
from pathlib import Path
from typing import Annotated

from tqdm import tqdm
import tyro

from inspire_fast.core.cli import run_command
from inspire_fast.envs.libero.experts import trial_log
from inspire_fast.envs.libero.experts.trials import TrialSpec
from inspire_fast.envs.libero.suites import SUITES, Task, find_task
from inspire_fast.envs.libero.suites import tasks as tasks_of


def measure_experts(
    spec: Annotated[TrialSpec, tyro.conf.arg(name="")],
    *,
    table: bool = False,
    tasks: tuple[str, ...] = SUITES,
    episodes: int = 5,
    workers: int = 2,
    out: Path = Path("runs/experts.jsonl"),
    measure: bool = True,
) -> int:
    """Runs the missing trials and prints the counts; status 1 if trials could not be measured.

    Args:
        spec: expert and settings of a trial.
        table: print a line per task, in Markdown.
        tasks: `suite:number` or a whole `suite`; all 130 by default.
        episodes: fixed initial states per task, from number 0 on.
        workers: processes, each with a simulator of up to 2 GB.
        out: JSON lines of the trials; trials in this file are not repeated.
        measure: run the missing trials; with `--no-measure`, only print those in `out`.
    """
    wanted = [task for name in tasks for task in _named(name)]
    done = trial_log.read(out, spec)
    keys = {task: [(task.suite, task.index, episode) for episode in range(episodes)] for task in wanted}
    missing = [(task, [key[2] for key in keys[task] if key not in done]) for task in wanted]
    missing = [(task, numbers) for task, numbers in missing if numbers]
    total, left = len(wanted) * episodes, sum(len(numbers) for _, numbers in missing)
    with tqdm(total=total, initial=total - left, desc="trials", unit="ep", disable=None) as bar:
        for trial in trial_log.run(spec, missing if measure else [], workers):
            trial_log.append(out, spec, trial)
            done[trial.key] = trial
            bar.update()
    trials = [[done[key] for key in keys[task] if key in done] for task in wanted]
    if table:
        print(trial_log.HEADER)
        for task, measured in zip(wanted, trials, strict=True):
            print(trial_log.row(task, measured))
    print(json.dumps(trial_log.summary(trials)))
    return int(sum(map(len, trials)) < total)


def _named(name: str) -> tuple[Task, ...]:
    suite, _, number = name.partition(":")
    return (find_task(suite, int(number)),) if number else tasks_of(suite)


if __name__ == "__main__":
    # The simulator's matrices are tiny: BLAS threads of one worker would only slow down the others.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run_command(measure_experts)
