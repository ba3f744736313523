"""Control steps per second of the simulator, and the shares of rendering and physics.

    uv run python benchmarks/libero.py --quick

One run compares, each in its own processes: LIBERO's environment as openpi's client drives it (both cameras at every
step), ours with rendering only when the policy looks (every fifth step), and two workers of ours at once. The policy is
a seeded random one that takes no time. The time to build a simulator is not counted. The last line is one JSON object.
"""

from collections.abc import Callable
from dataclasses import dataclass
import json
import multiprocessing
from multiprocessing.connection import Connection
import os
from pathlib import Path
import sys
import time
from typing import Any

import numpy as np
import tyro

from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.install import import_simulator
from inspire_fast.envs.libero.suites import find_task
from inspire_fast.envs.workers import prepare_worker

# Python looks for packages in the script's folder first, and this script has the name of the simulator's package.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
EXECUTE = 5  # actions per observation
Times = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Args:
    """Options of the benchmark.

    Attributes:
        quick: 12 s per measurement instead of 60.
        task: `suite:number`.
    """

    quick: bool = False
    task: str = "libero_spatial:0"


def main(args: Args) -> None:
    """Measures, prints a table and the JSON line."""
    load = round(os.getloadavg()[0], 1)  # on a busy machine, processor time is more reliable than wall time
    seconds, suite, number = 12 if args.quick else 60, *args.task.split(":")
    measurements = [
        ("plain_128", plain, 128, 1),
        ("plain_256", plain, 256, 1),
        ("on_demand_128", on_demand, 128, 1),
        ("on_demand_256", on_demand, 256, 1),
        ("on_demand_256_two_workers", on_demand, 256, 2),
    ]
    rates: Times = {}
    cpu: Times = {}
    shares: dict[str, Times] = {}
    for place, (name, loop, px, workers) in enumerate(measurements, start=1):
        print(f"[{place}/{len(measurements)}] {name}: {workers} process(es), {seconds} s ...", flush=True)
        found = measure(loop, suite, int(number), px, workers, seconds)
        rates[name] = sum(times["steps"] / times["wall_s"] for times in found)
        cpu[name] = sum(times["cpu_s"] for times in found) / sum(times["steps"] for times in found)
        print(f"        {rates[name]:.2f} steps/s, {cpu[name]:.3f} s of processor time per step", flush=True)
        if loop is on_demand:
            total = {k: sum(t[k] for t in found) / sum(t["wall_s"] for t in found) for k in ("render_s", "step_s")}
            shares[name] = {"rendering": round(total["render_s"], 3), "physics": round(total["step_s"], 3)}
            print(f"        of the time: {shares[name]}", flush=True)
    print(
        json.dumps(
            {
                "steps_per_s_plain": round(rates["plain_256"], 3),
                "steps_per_s_plain_128": round(rates["plain_128"], 3),
                "steps_per_s_one_worker": round(rates["on_demand_256"], 3),
                "steps_per_s_one_worker_128": round(rates["on_demand_128"], 3),
                "steps_per_s_two_workers": round(rates["on_demand_256_two_workers"], 3),
                "speedup_two_workers": round(rates["on_demand_256_two_workers"] / rates["on_demand_256"], 3),
                "speedup_render_on_demand": round(rates["on_demand_256"] / rates["plain_256"], 3),
                "speedup_render_on_demand_128": round(rates["on_demand_128"] / rates["plain_128"], 3),
                "speedup_two_workers_over_plain": round(rates["on_demand_256_two_workers"] / rates["plain_256"], 3),
                "cpu_s_per_step": {name: round(value, 4) for name, value in cpu.items()},
                "load_average_before": load,
                "shares": shares,
                "task": args.task,
            }
        )
    )


def measure(loop: Callable[..., Times], suite: str, task: int, px: int, workers: int, seconds: float) -> list[Times]:
    """Runs the loop in `workers` processes, which begin together when all simulators are built."""
    context = multiprocessing.get_context("spawn")
    barrier: Any = context.Barrier(workers)
    crew = []
    for _ in range(workers):
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, barrier, loop, suite, task, px, seconds), daemon=True)
        process.start()
        theirs.close()
        crew.append((process, ours))
    found = [pipe.recv() for _, pipe in crew]
    for process, _ in crew:
        process.join()
    return found


def _work(pipe: Connection, barrier: Any, loop: Callable[..., Times], *arguments: Any) -> None:
    prepare_worker(barrier.parties)
    pipe.send(loop(barrier, *arguments))


def _actions() -> Callable[[], np.ndarray]:
    rng = np.random.default_rng(0)
    return lambda: np.append(rng.uniform(-0.2, 0.2, 6), -1.0)


def plain(barrier: Any, suite: str, number: int, px: int, seconds: float) -> Times:
    """LIBERO's own environment: rendering is part of every step and cannot be separated from it."""
    task = find_task(suite, number)
    env = import_simulator().OffScreenRenderEnv(
        bddl_file_name=str(task.bddl_file), camera_heights=px, camera_widths=px, ignore_done=True
    )
    env.reset()
    env.set_init_state(task.initial_states()[0])
    action = _actions()
    env.step(action())
    barrier.wait()
    start, cpu, steps = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        env.step(action())
        steps += 1
    wall, used = time.perf_counter() - start, time.process_time() - cpu
    env.close()
    return {"steps": steps, "wall_s": wall, "cpu_s": used, "render_s": 0.0, "step_s": 0.0}


def on_demand(barrier: Any, suite: str, number: int, px: int, seconds: float) -> Times:
    """Our environment, with an observation before every fifth step."""
    env = LiberoEnvironment(suite, number, LiberoSettings(camera_hw=(px, px), sampling="robosuite"))
    env.reset(0)
    action = _actions()
    env.observe()
    barrier.wait()
    start, cpu = time.perf_counter(), time.process_time()
    steps, render_s, step_s = 0, 0.0, 0.0
    while time.perf_counter() - start < seconds:
        began = time.perf_counter()
        if steps % EXECUTE == 0:
            env.observe()
            render_s += time.perf_counter() - began
            began = time.perf_counter()
        env.step(action())
        step_s += time.perf_counter() - began
        steps += 1
    wall, used = time.perf_counter() - start, time.process_time() - cpu
    env.close()
    return {"steps": steps, "wall_s": wall, "cpu_s": used, "render_s": render_s, "step_s": step_s}


if __name__ == "__main__":
    main(tyro.cli(Args))
