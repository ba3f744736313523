"""Fake simulator for evaluations in real processes: success depends on the seed and the actions alone."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
import time
from typing import Any

import numpy as np

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.evaluation.run.libero import LiberoProtocol
from inspire_fast.evaluation.run.runner import Job
from inspire_fast.robots import ROBOTS

LIBERO = ROBOTS["libero"]
PROTOCOL = LiberoProtocol(name="faked", suites=("libero_object",), trials=6, max_steps={"libero_object": 12}, execute=4)


class Faked:
    """A hand that approaches a bowl; each episode needs another number of steps.

    Environment variables control it across processes: it sleeps `FAKED_STEP_S` in each step, and if the file
    `FAKED_DIE` exists, the process that resets to the episode named in the file dies once.
    """

    def __init__(self, suite: str, task: int, job: Job) -> None:
        self.prompt = "pick up the bowl"
        assert isinstance(job.protocol, LiberoProtocol)
        self._seed = [job.protocol.seed, task]
        self._step_s = float(os.environ.get("FAKED_STEP_S", "0"))
        self._steps = self._needed = 0

    def reset(self, episode: int) -> None:
        orders = Path(os.environ.get("FAKED_DIE", "/nonexistent"))
        if orders.exists() and orders.read_text(encoding="utf-8") == str(episode):
            orders.unlink()
            os.kill(os.getpid(), 9)
        self._rng = np.random.default_rng([*self._seed, episode])
        self._steps, self._needed = 0, int(self._rng.integers(1, 20))

    def observe(self) -> Mapping[str, Any]:
        return {**LIBERO.fake_native(), "observation/state": np.full(8, 0.01 * self._steps), "prompt": self.prompt}

    def step(self, action: np.ndarray) -> np.ndarray:
        time.sleep(self._step_s)
        self._steps += 1
        return action

    @property
    def success(self) -> bool:
        return self._steps >= self._needed

    def facts(self) -> SceneFacts:
        offset = np.array([0.2 - 0.01 * self._steps, 0.05, -0.1], np.float32)
        return SceneFacts(targets=(TargetFacts(phrase="the bowl", offset_m=offset, grasped=self._steps > 6),))

    def close(self) -> None: ...
