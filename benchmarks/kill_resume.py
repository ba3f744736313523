"""Benchmark of exact resume: kills a training run at random moments and continues it.

`uv run python benchmarks/kill_resume.py [--quick]`

A real config runs in a separate process on a small fake dataset. It is killed with SIGKILL while it starts, compiles,
trains or saves, and continued with `--resume`, again and again. The run averages its parameters, augments its images,
sums gradients of two microbatches and is divided over two devices. A resume is exact if it wrote lines and every metric
of every line equals that of an undisturbed run, bit for bit; of one that was killed before its first line, nothing is
known. The last line is one JSON object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
import os
from pathlib import Path
import random
import subprocess
import sys
import tempfile
import time

import tyro

from inspire_fast.data.testing import write_fake_dataset
from inspire_fast.training.reporting.throughput import THROUGHPUT

ROOT = Path(__file__).resolve().parents[1]
SAVE_EVERY, LOG_EVERY = 7, 3  # checkpoints fall between lines of the log
DEVICES = 2
Row = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Args:
    """Options.

    Attributes:
        quick: 20 kills of runs of 120 steps instead of 100 of 400.
        kills: number of kills instead.
        seed: random seed of the moments.
    """

    quick: bool = False
    kills: int | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Training processes that share dataset, tokenizers and compiled programs."""

    folder: Path
    steps: int

    def command(self, script: str, *args: str) -> list[str]:
        """The command line of a script with the config of these runs."""
        paths = ["--data.root", self.folder / "data", "--assets", self.folder / "assets"]
        paths += ["--checkpoint.root", self.folder / "runs"]
        lengths = {
            "steps": self.steps,
            "checkpoint.every": SAVE_EVERY,
            "logging.every": LOG_EVERY,
            "evaluation.every": 40,
            "evaluation.decode-every": 0,
            "optimizer.ema-decay": 0.99,
            "data.augmentation": "openpi",
            "grad-accum-steps": 2,
            "mesh.fsdp": DEVICES,
        }
        rest = [word for name, value in lengths.items() for word in (f"--{name}", str(value))]
        return [sys.executable, str(ROOT / "scripts" / script), "debug", *map(str, paths), *rest, *args]

    def start(self, exp_name: str) -> subprocess.Popen[bytes]:
        """Starts or continues a run."""
        cache = {"JAX_COMPILATION_CACHE_DIR": str(self.folder / "programs"), "JAX_PLATFORMS": "cpu"}
        cache["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"
        environment = {**os.environ, **cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        with (self.folder / f"{exp_name}.txt").open("ab") as said:
            command = self.command("train.py", "--exp-name", exp_name, "--resume")
            return subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)

    def lines(self, exp_name: str) -> list[Row]:
        """The log so far, without an incomplete line."""
        log = self.folder / "runs" / "debug" / exp_name / "metrics.jsonl"
        return [json.loads(line) for line in log.read_text(encoding="utf-8").split("\n")[:-1]] if log.exists() else []

    def saved(self, exp_name: str) -> int:
        """The step of the latest checkpoint."""
        run = self.folder / "runs" / "debug" / exp_name
        return max((int(step.name) for step in run.glob("*") if step.name.isdigit()), default=0)

    def finish(self, exp_name: str) -> float:
        """Runs to the end; returns the duration in seconds."""
        start = time.perf_counter()
        if status := self.start(exp_name).wait():
            said = (self.folder / f"{exp_name}.txt").read_text(encoding="utf-8")
            raise SystemExit(f"{exp_name} ended with {status}:\n{said[-3000:]}")
        return time.perf_counter() - start


def is_exact(rows: Sequence[Row], reference: Sequence[Row], *, since: float) -> bool | None:
    """Whether a log is the undisturbed run's so far, but for times; None if nothing was written `since` then.

    A resumed run drops the lines after its checkpoint and writes them again: their number says nothing.
    """
    if not any(row["time"] >= since for row in rows):
        return None
    return _without_times(rows) == _without_times(reference[: len(rows)])


def _without_times(rows: Sequence[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key not in ("time", *THROUGHPUT)} for row in rows]


def main(args: Args) -> None:
    """Kills, continues, compares."""
    wanted, steps = (20, 120) if args.quick else (100, 400)
    wanted = wanted if args.kills is None else args.kills
    moments = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(folder=Path(folder), steps=steps)
        write_fake_dataset(runs.folder / "data")
        for script in ("compute_norm_stats.py", "fit_tokenizers.py"):
            subprocess.run(runs.command(script), check=True, stdout=subprocess.DEVNULL)
        runs.finish("compiles")
        seconds = runs.finish("straight")
        reference = runs.lines("straight")
        kills = lost = completed = 0
        verdicts: Counter[bool | None] = Counter()
        when = {"before its first line": 0, "later": 0}
        resumed = False  # the current process continues after a kill
        while kills < wanted or resumed:
            name = f"killed-{completed}"
            begun, process = time.time(), runs.start(name)
            limit = moments.uniform(0.1, 0.9) * seconds if kills < wanted else None
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                status = None
            rows = runs.lines(name)
            verdict = is_exact(rows, reference, since=begun)
            if resumed:
                verdicts[verdict] += 1
            elif verdict is False:
                raise SystemExit(f"{name} differs from the undisturbed run before anything was killed: no reference.")
            resumed = status is None
            if status is None:
                kills += 1
                reached = int(rows[-1]["step"]) if rows else 0
                lost = max(lost, reached - runs.saved(name))
                when["before its first line" if verdict is None else "later"] += 1
                sys.stderr.write(f"\rkill {kills}/{wanted}: step {reached}, checkpoint {runs.saved(name)}   ")
            elif status:
                raise SystemExit(
                    f"{name} ended with {status}:\n{(runs.folder / f'{name}.txt').read_text(encoding='utf-8')[-3000:]}"
                )
            else:
                completed += 1
        sys.stderr.write("\n")
        for moment, count in when.items():
            print(f"processes killed {moment}: {count}")
        print(f"completed runs: {completed}; log lines of each: {len(reference)}")
        results = {
            "kills": kills,
            "compared_resumes": verdicts[True] + verdicts[False],
            "exact_resumes": verdicts[True],
            "resumes_without_a_line": verdicts[None],
            "completed_runs": completed,
            "most_logged_steps_lost": lost,
            "save_every": SAVE_EVERY,
            "seconds_per_run": round(seconds, 1),
        }
        print(json.dumps(results))


if __name__ == "__main__":
    main(tyro.cli(Args))
