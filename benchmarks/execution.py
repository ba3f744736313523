"""Ways of executing chunks behind a delay, in LIBERO: success, idle time, jumps at seams.

    uv run python benchmarks/execution.py [--quick] [--policy inspire_acting] [--workers 2] [--picture FILE.png]

The policy is the scripted expert, or a trained one (`--policy`). The expert's chunk is what it would do from the state
of the request: a fork of the process, with simulator and expert inside, runs ahead for 32 control steps without
rendering. The expert itself follows the robot, step by step, and stands still while the robot holds. For `projected`
the fork first executes what the robot will execute until the reply. A trained policy sees pictures of the time of its
request, and for `projected` the state that the robot will have. A reply comes 0 to 12 control steps (600 ms) later. All
cells have the same initial states. The wait for the first chunk does not count as idle.

Without `--quick`: 20 episodes per cell, 60 for no delay and 300 ms. The last line is one JSON object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
import json
import multiprocessing
import os
from pathlib import Path
from statistics import mean
import sys
from typing import Any

import numpy as np
from tqdm import tqdm
import tyro

import inspire_fast as ifa
from inspire_fast.core.episode import Infer
from inspire_fast.core.policy import Policy
from inspire_fast.core.types import ActionChunk
from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.controller import InfeasibleSceneError, Variation
from inspire_fast.envs.libero.experts.registry import EXPERTS
from inspire_fast.evaluation.report.statistics import compare, wilson
from inspire_fast.robots.control.environment import Environment
from inspire_fast.robots.control.execution.requests import held
from inspire_fast.robots.control.runtime import LoopConfig, run_episode
from inspire_fast.robots.control.safety import SafetyFilter
from inspire_fast.robots.libero import LIBERO
from inspire_fast.robots.spec import Robot

# Python looks for packages in the script's folder first, where `libero.py` is another benchmark.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
WAYS = ("synchronous", "prefetch", "blended", "projected")  # `prefix_forced` needs a policy with `bins`
DELAYS_MS = (0, 100, 300, 600)
CHUNK, EXECUTE, MAX_STEPS = 32, 8, 400
POLICY_EXECUTE, POLICY_MAX_STEPS, CAMERA_PX = 5, 280, 112  # the shipped policy's protocol
Key = tuple[int, int]  # task, episode
Cell = tuple[str, int]  # way of execution, delay in ms


@dataclass(frozen=True, kw_only=True)
class Args:
    """Options of the benchmark.

    Attributes:
        quick: three episodes each of synchronous and projected execution, with 0 and 300 ms: at most five minutes.
        policy: a published name, folder or URL; None: the scripted expert.
        suite: of the tasks; episodes go round its first ten tasks.
        ways: of execution; `prefix_forced` is for policies with `bins`.
        delays_ms: from a request to its reply.
        episodes: per cell; 0: as above.
        workers: processes with a simulator each.
        picture: a drawing of the commanded motion of one episode, the same for all ways (PNG or SVG).
    """

    quick: bool = False
    policy: str | None = None
    suite: str = "libero_object"
    ways: tuple[str, ...] = WAYS
    delays_ms: tuple[int, ...] = DELAYS_MS
    episodes: int = 0
    workers: int = 2
    picture: Path | None = None


class ExpertRobot:
    """An environment without pictures, and the expert that acts in it as a policy."""

    def __init__(self, environment: LiberoEnvironment) -> None:
        self._environment, self.prompt = environment, environment.prompt
        self._expert: Iterator[np.ndarray] = iter(())
        self._next: np.ndarray | None = None
        self._coming: list[np.ndarray] = []
        self.robot = replace(LIBERO, state_after=self._state_after)

    def reset(self, episode: int) -> None:
        """Starts an episode, and the expert anew."""
        self._environment.reset(episode)
        rng = np.random.default_rng(episode)
        self._expert, self._next = EXPERTS["carry_out"](self._environment, rng, Variation.none()), None

    def observe(self) -> Mapping[str, Any]:
        """State and prompt: the expert sees the simulator."""
        return {"observation/state": self._environment.state(), "prompt": self.prompt}

    def step(self, action: np.ndarray) -> np.ndarray:
        """Executes an action; the expert goes on by a step unless the robot holds where the expert would move."""
        wanted = self._peek()
        sent = self._environment.step(action)
        holds = not action[:6].any()
        if not holds or wanted is None or not wanted[:6].any():
            self._next = None
        return sent

    @property
    def success(self) -> bool:
        """The goal holds."""
        return self._environment.success

    def facts(self) -> None:
        """No questions are asked."""

    def close(self) -> None:
        """Closes the simulator."""
        self._environment.close()

    def infer(self, observation: Mapping[str, Any]) -> ActionChunk:
        """The expert's next actions `[<= 32, 7]`; held if it has nothing left to try."""
        del observation
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            with os.fdopen(write, "wb") as pipe:
                pipe.write(np.array(self._ahead(), np.float32).tobytes())
            os._exit(0)
        os.close(write)
        self._coming = []
        with os.fdopen(read, "rb") as pipe:
            actions = np.frombuffer(pipe.read(), np.float32).reshape(-1, LIBERO.action_dim)
        if os.waitpid(child, 0)[1]:
            raise RuntimeError("The process that ran the expert ahead has failed; its message is above.")
        return ActionChunk(actions=actions) if len(actions) else held("The expert has nothing left to try.")

    def _state_after(self, state: np.ndarray, actions: np.ndarray) -> np.ndarray:
        self._coming = list(actions)
        assert LIBERO.state_after is not None
        return LIBERO.state_after(state, actions)

    def _ahead(self) -> list[np.ndarray]:
        for action in self._coming:
            self.step(action)
        actions: list[np.ndarray] = []
        while len(actions) < CHUNK and not self.success and (action := self._peek()) is not None:
            self._next = None
            actions.append(action)
            self._environment.step(action)
        return actions

    def _peek(self) -> np.ndarray | None:
        if self._next is None:
            try:
                self._next = next(self._expert, None)
            except InfeasibleSceneError:
                return None
        return self._next


@dataclass(frozen=True)
class Setting:
    """What acts where: an environment, a policy in it, and how much of its chunks is executed."""

    environment: Environment
    infer: Infer
    robot: Robot
    metadata: Mapping[str, Any]
    execute: int
    max_steps: int


@cache
def policy_of(name: str) -> Policy:
    """A trained policy, loaded once per process."""
    return ifa.load_policy(name)


def setting_of(suite: str, task: int, policy: str | None) -> Setting:
    """A task with the expert, or with a trained policy."""
    if policy is None:
        expert = ExpertRobot(LiberoEnvironment(suite, task))
        return Setting(expert, expert.infer, expert.robot, {"robot": LIBERO.name}, EXECUTE, MAX_STEPS)
    pictures = LiberoSettings(camera_hw=(CAMERA_PX, CAMERA_PX), render_quality="reduced")
    trained, environment = policy_of(policy), LiberoEnvironment(suite, task, pictures)
    return Setting(environment, trained.infer, LIBERO, trained.metadata, POLICY_EXECUTE, POLICY_MAX_STEPS)


_settings: dict[tuple[str, int], Setting] = {}


def run(suite: str, policy: str | None, key: Key, way: str, delay_ms: int) -> tuple[dict[str, float], np.ndarray]:
    """One episode: success and the figures of its cadence; commanded translation `[steps, 3]`, units of action."""
    task, episode = key
    if (suite, task) not in _settings:
        for other in list(_settings):
            _settings.pop(other).environment.close()
        _settings[suite, task] = setting_of(suite, task, policy)
    setting = _settings[suite, task]
    delay = round(delay_ms / 1000 * LIBERO.control_hz)
    config = LoopConfig(
        execute=setting.execute,
        max_steps=setting.max_steps,
        execution=way,
        simulated=True,
        delay_steps=delay,
        max_holds=50,
    )
    wanted: list[np.ndarray] = []
    result = run_episode(
        setting.environment,
        setting.infer,
        config,
        safety=SafetyFilter(robot=setting.robot),
        metadata=setting.metadata,
        episode=episode,
        on_step=lambda step: wanted.append(step.sent[:3]),
    )
    jerk = np.diff(np.array(wanted), n=2, axis=0) * LIBERO.control_hz**2
    figures = {
        "success": float(result.success),
        "steps": result.steps,
        "idle": (result.timing["idle_steps"] - delay) / result.steps,  # without the wait for the first chunk
        "jerk": float(np.sqrt((jerk**2).mean())),
        **{name: result.timing[name] for name in ("seam_jump", "inner_jump", "delay_steps_mean")},
    }
    return figures, np.array(wanted)


def cells(args: Args) -> list[tuple[str, int, int]]:
    """`(way, delay in ms, episodes)` of every cell."""
    if args.quick:
        return [(way, delay_ms, 3) for way in ("synchronous", "projected") for delay_ms in (0, 300)]
    return [
        (way, delay_ms, args.episodes or (60 if delay_ms in (0, 300) else 20))
        for way in args.ways
        for delay_ms in args.delays_ms
    ]


def main(args: Args) -> None:
    """Measures, prints a table and the JSON line."""
    context = multiprocessing.get_context("spawn")
    found: dict[Cell, dict[Key, dict[str, float]]] = {}
    motions: dict[Cell, np.ndarray] = {}
    planned = [(way, delay_ms, n) for way, delay_ms, episodes in cells(args) for n in range(episodes)]
    jobs = [((n % 10, n // 10), way, delay_ms) for way, delay_ms, n in planned]
    jobs.sort(key=lambda job: job[0])  # a simulator is built once per task
    with ProcessPoolExecutor(args.workers, mp_context=context) as pool:
        futures = [(job, pool.submit(run, args.suite, args.policy, *job)) for job in jobs]
        for (key, way, delay_ms), future in tqdm(futures, unit="ep"):
            found.setdefault((way, delay_ms), {})[key], motion = future.result()
            if key == (0, 0):
                motions[way, delay_ms] = motion
    for (way, delay_ms), episodes in sorted(found.items(), key=lambda item: (item[0][1], args.ways.index(item[0][0]))):
        print(line(way, delay_ms, list(episodes.values())))
    if args.picture:
        draw(args.picture, motions)
    print(json.dumps(summary(found)))


def draw(path: Path, motions: Mapping[Cell, np.ndarray]) -> None:
    """Draws the commanded translation over time, one row per cell; stretches without a command are grey."""
    from matplotlib.figure import Figure

    rows = sorted(motions.items(), key=lambda item: item[0][1])
    figure = Figure(figsize=(9, 1.5 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), sharex=True, sharey=True, squeeze=False)[:, 0]
    for axis, ((way, delay_ms), motion) in zip(axes, rows, strict=True):
        times = np.arange(len(motion)) / LIBERO.control_hz
        axis.step(times, motion, where="post", linewidth=1.2, label=("x", "y", "z"))
        for start in times[~motion.any(axis=1)]:
            axis.axvspan(start, start + 1 / LIBERO.control_hz, color="0.88", linewidth=0)
        axis.set_title(f"{way}, {delay_ms} ms: {times[-1]:.1f} s", loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(ncols=3, frameon=False, loc="upper right", fontsize=9)
    axes[-1].set_xlabel("seconds of simulated time")
    figure.supylabel("commanded translation, units of action", fontsize=10)
    figure.savefig(path, dpi=110)


def line(way: str, delay_ms: int, episodes: list[dict[str, float]]) -> str:
    """A cell in words."""
    rate = wilson(sum(e["success"] > 0 for e in episodes), len(episodes))
    figures = {name: mean(e[name] for e in episodes) for name in ("idle", "steps", "jerk")}
    return (
        f"{way:12} {delay_ms:4} ms  solved {rate.successes} of {rate.trials} ({rate.low:.0%} to {rate.high:.0%})  idle "
        f"{figures['idle']:.1%}  steps {figures['steps']:.0f}  jerk {figures['jerk']:.0f}  seam jump / inner jump "
        f"{ratio(episodes):.2f}"
    )


def ratio(episodes: list[dict[str, float]]) -> float:
    """Mean jump at seams over the mean jump within chunks."""
    return mean(e["seam_jump"] for e in episodes) / max(mean(e["inner_jump"] for e in episodes), 1e-9)


def summary(found: Mapping[Cell, Mapping[Key, Mapping[str, float]]]) -> dict[str, Any]:
    """The JSON object: the cells, and what they say of `projected` beside `synchronous`, if both were run."""
    of = {cell: [dict(episode) for episode in episodes.values()] for cell, episodes in found.items()}
    compared = {("synchronous", 0), ("synchronous", 300), ("projected", 300)} <= set(found)
    return (headline(found) if compared else {}) | {
        "episodes": sum(map(len, of.values())),
        "cells": [
            {"way": way, "delay_ms": delay_ms, "episodes": len(each)}
            | {name: mean(e[name] for e in each) for name in ("success", "idle", "steps", "jerk")}
            | {"seam_jump_ratio": ratio(each)}
            for (way, delay_ms), each in of.items()
        ],
    }


def headline(found: Mapping[Cell, Mapping[Key, Mapping[str, float]]]) -> dict[str, Any]:
    """`projected` and `synchronous` behind 300 ms, and in pairs of the same episodes against no delay."""
    of = {cell: [dict(episode) for episode in episodes.values()] for cell, episodes in found.items()}
    solved = {cell: {key: e["success"] > 0 for key, e in episodes.items()} for cell, episodes in found.items()}
    paired = compare(solved["synchronous", 0], solved["projected", 300])
    return {
        "idle_fraction_sync_300ms": mean(e["idle"] for e in of["synchronous", 300]),
        "idle_fraction_async_300ms": mean(e["idle"] for e in of["projected", 300]),
        "success_no_delay": mean(e["success"] for e in of["synchronous", 0]),
        "success_sync_300ms": mean(e["success"] for e in of["synchronous", 300]),
        "success_async_300ms": mean(e["success"] for e in of["projected", 300]),
        "paired_difference_async_300ms": paired.difference,
        "paired_interval": list(paired.interval),
        "paired_p_value": paired.p_value,
        "seam_jump_ratio": ratio(of["projected", 300]),
        "seam_jump_ratio_sync_300ms": ratio(of["synchronous", 300]),
    }


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
