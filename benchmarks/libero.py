"""How many control steps per second the simulator makes, and what the time goes into.

    uv run python benchmarks/libero.py --quick

Compared in one run, each in processes of its own: LIBERO's environment as openpi's client drives it (both cameras at every
step), ours rendering only when the policy looks (every fifth step), and two workers of ours at once. The policy is a
seeded random one that takes no time. Building a simulator is not counted. The last line is one JSON object.
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

# A script's folder is the first place where packages are looked for, and this script is called like the simulator's.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
EXECUTE = 5  # actions per look
Times = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to measure.

    Attributes:
        quick: 12 s per measurement instead of 60.
        task: `suite:number`.
    """

    quick: bool = False
    task: str = "libero_spatial:0"


def main(args: Args) -> None:
    """Measures, prints a table and the JSON line."""
    load = round(os.getloadavg()[0], 1)  # on a busy machine wall-clock figures say little; processor time still does
    seconds, suite, number = 12 if args.quick else 60, *args.task.split(":")
    plan = [
        ("plain_128", plain, 128, 1),
        ("plain_256", plain, 256, 1),
        ("on_demand_128", on_demand, 128, 1),
        ("on_demand_256", on_demand, 256, 1),
        ("on_demand_256_two_workers", on_demand, 256, 2),
    ]
    rates: Times = {}
    cpu: Times = {}
    shares: dict[str, Times] = {}
    for place, (name, loop, px, workers) in enumerate(plan, start=1):
        print(f"[{place}/{len(plan)}] {name}: {workers} process(es), {seconds} s ...", flush=True)
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
    """Runs the loop in so many processes at once, which begin together once all simulators stand."""
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
    """LIBERO's own environment: rendering is part of every step and cannot be told from it here."""
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
    """Our environment, looked at before every fifth step."""
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
