"""Measures the scripted experts: their success per LIBERO task, from the suites' fixed initial states. Renders nothing.

    uv run examples/libero/experts.py --table --out runs/experts.jsonl

Every trial is kept in `--out` as one JSON line; run again, it continues where it stopped. The last line printed is one
JSON object with the counts.
"""

from dataclasses import dataclass
import json
import os
from pathlib import Path
import sys

from tqdm import tqdm
import tyro

from inspire_fast.envs.libero.experts import trial_log
from inspire_fast.envs.libero.suites import SUITES, Task, find_task, tasks


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to try.

    Attributes:
        table: print every task's line, in Markdown; else only the counts.
        tasks: `suite:number` or a whole `suite`; all 130 by default.
        episodes: fixed initial states per task, from number 0 on.
        workers: processes, each with a simulator of up to 2 GB.
        out: JSON lines of the trials; what stands there is not run again.
        measure: run what is missing; with `--no-measure`, only print what stands in `out`.
        expert, variation, max_steps, seed: see `TrialSpec`.
    """

    table: bool = False
    tasks: tuple[str, ...] = SUITES
    episodes: int = 5
    workers: int = 2
    out: Path = Path("runs/experts.jsonl")
    measure: bool = True
    expert: str = "carry_out"
    variation: bool = True
    max_steps: int = 700
    seed: int = 7


def main(args: Args) -> int:
    """Runs what is not in `out` yet and prints; returns how many trials could not be measured."""
    spec = trial_log.TrialSpec(expert=args.expert, variation=args.variation, max_steps=args.max_steps, seed=args.seed)
    wanted = [task for name in args.tasks for task in _named(name)]
    done = trial_log.read(args.out, spec)
    keys = [[(task.suite, task.index, e) for e in range(args.episodes)] for task in wanted]
    total = len(wanted) * args.episodes
    missing = [(task, [key[2] for key in ks if key not in done]) for task, ks in zip(wanted, keys, strict=True)]
    missing = [(task, episodes) for task, episodes in missing if episodes]
    there = total - sum(len(episodes) for _, episodes in missing)
    with tqdm(total=total, initial=there, desc="trials", unit="ep", disable=None) as bar:
        for trial in trial_log.run(spec, missing if args.measure else [], args.workers):
            trial_log.append(args.out, spec, trial)
            done[trial.key] = trial
            bar.update()
    trials = [[done[key] for key in ks if key in done] for ks in keys]
    if args.table:
        print(trial_log.HEADER)
        for task, measured in zip(wanted, trials, strict=True):
            print(trial_log.row(task, measured))
    print(json.dumps(trial_log.summary(trials)))
    return total - sum(map(len, trials))


def _named(name: str) -> tuple[Task, ...]:
    suite, _, number = name.partition(":")
    return (find_task(suite, int(number)),) if number else tasks(suite)


if __name__ == "__main__":
    # A simulator's matrices are tiny: a BLAS with a thread per core would only get into the other workers' way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        raise SystemExit(1 if main(tyro.cli(Args)) else 0)
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
