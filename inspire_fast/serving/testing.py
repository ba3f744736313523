"""Policy without a model that obeys commands in its prompt, for tests of the code around a policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import time
from typing import Any

import numpy as np

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk, Answer, Status
from inspire_fast.robots.registry import ROBOTS


class PuppetPolicy:
    """Obeys the prompts `wait <file>`, `sleep 0.5`, `hold` and `crash`; answers any other prompt at once.

    `wait` creates `<file>.begun` and goes on when `<file>` exists, so that a test controls the length of an inference.

    It checks observations like the real policies. The actions repeat the first seven numbers of the state, so that
    every reply shows which request it belongs to. Given answers come back unchanged.
    """

    def __init__(self, *, robot: str = "libero", horizon: int = 10) -> None:
        self._robot = ROBOTS[robot]
        self._horizon = horizon
        self.prompts: list[str] = []

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Robot and horizon."""
        return {"robot": self._robot.name, "horizon": self._horizon}

    def infer(self, observation: Mapping[str, Any], options: RequestOptions | None = None) -> ActionChunk:
        """Obeys the prompt."""
        options = options or RequestOptions()
        canonical = self._robot.canonical(observation)
        self.prompts.append(canonical.prompt)
        command, _, argument = canonical.prompt.partition(" ")
        if command == "sleep":
            time.sleep(float(argument))
        elif command == "wait":
            _wait(Path(argument))
        elif command == "crash":
            raise ZeroDivisionError("a secret of the server")
        elif command == "hold":
            return ActionChunk(actions=None, status=Status.HELD, reason="told to hold")
        answers = tuple(
            Answer(question="direction", target=target, answer=answer, probability=1.0)
            for target, answer in zip(options.targets or (), options.answers or (), strict=False)
        )
        actions = np.tile(canonical.state[: self._robot.action_dim], (self._horizon, 1)).astype(np.float32)
        return ActionChunk(actions=actions, answers=answers, timing_ms={"prefill_ms": 1.5})


def _wait(gate: Path) -> None:
    gate.with_suffix(".begun").touch()
    end = time.monotonic() + 60
    while not gate.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"{gate} did not appear within a minute.")
        time.sleep(0.01)
