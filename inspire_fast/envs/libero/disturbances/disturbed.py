"""A LIBERO environment with disturbed episodes, each in its own seeded way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
import zlib

import numpy as np

from inspire_fast.core.types import SceneFacts
from inspire_fast.envs.libero.disturbances.base import SEVERITIES, Active, Scene
from inspire_fast.envs.libero.disturbances.registry import DISTURBANCES
from inspire_fast.envs.libero.environment import LiberoEnvironment


class Disturbed:
    """An environment around another one, with the same interface.

    A disturbance's draws in an episode depend on `(seed, name, task, episode)` alone. Another severity goes further in
    the same direction where that makes sense, and disturbances do not change each other's draws.

    Args:
        environment: the simulator; closed together with this object.
        severities: name -> 0..5; 0 is the same as leaving the name out.
        seed: of all draws.

    Raises:
        KeyError: an unknown name.
        ValueError: another severity.
    """

    def __init__(self, environment: LiberoEnvironment, severities: Mapping[str, int], *, seed: int) -> None:
        check(severities)
        self._environment, self._seed = environment, seed
        # In the registry's order, not the caller's; see there.
        self._severities = {name: severities[name] for name in DISTURBANCES if severities.get(name)}
        self._active: list[Active] = []
        self._measured = np.zeros(0)

    @property
    def environment(self) -> LiberoEnvironment:
        """The simulator below the disturbances."""
        return self._environment

    @property
    def prompt(self) -> str:
        """The instruction, perhaps in other words."""
        text = self._environment.prompt
        for active in self._active:
            text = active.prompt(text)
        return text

    @property
    def success(self) -> bool:
        """The goal held after the last step."""
        return self._environment.success

    def reset(self, episode: int) -> None:
        """Restores the simulator, starts the episode and disturbs it."""
        self._undo()
        self._environment.reset(episode)
        for name, severity in self._severities.items():
            self._environment.refresh()
            task = self._environment.task
            key = zlib.crc32(f"{name} {task.suite} {task.index}".encode())
            rng = np.random.default_rng([self._seed, key, episode])
            scene = Scene(environment=self._environment, rng=rng, severity=severity)
            self._active.append(DISTURBANCES[name](scene))
            self._environment.refresh()

    def observe(self) -> Mapping[str, Any]:
        """The disturbed observation, with the keys of `LiberoEnvironment.observe`."""
        late = [data for active in self._active if (data := active.drawn()) is not None]
        native = dict(self._environment.observe(drawn=late[0] if late else None))
        seen: Mapping[str, Any] = {**native, "observation/state": self._environment.measured()}
        for active in self._active:
            seen = active.see(seen)
        self._measured = seen["observation/state"]
        return {**seen, "observation/state": self._measured.astype(np.float32), "prompt": self.prompt}

    def measured(self) -> np.ndarray:
        """The state of the last observation, float64 `[8]`."""
        return self._measured

    def step(self, action: np.ndarray) -> np.ndarray:
        """Executes one action and returns it as sent."""
        sent = self._environment.step(action)
        for active in self._active:
            active.stepped()
        return sent

    def facts(self) -> SceneFacts | None:
        """Truth about the scene as it is, whatever the policy sees."""
        return self._environment.facts()

    def close(self) -> None:
        """Frees the simulator."""
        self._environment.close()

    def _undo(self) -> None:
        for active in reversed(self._active):
            active.undo()
        self._active = []


def check(severities: Mapping[str, int]) -> None:
    """Checks names and severities.

    Raises:
        KeyError: an unknown name, with a guess at the intended one.
        ValueError: another severity than 0..5.
    """
    for name, severity in severities.items():
        _ = DISTURBANCES[name]
        if severity not in SEVERITIES:
            raise ValueError(f"The severity of {name!r} is {SEVERITIES[0]}..{SEVERITIES[-1]}; got {severity}.")


def parse_disturbances(texts: Sequence[str]) -> dict[str, int]:
    """`["lighting:3"]` -> `{"lighting": 3}`.

    Raises:
        ValueError: another form, or another severity.
        KeyError: an unknown name.
    """
    found = {}
    for text in texts:
        name, colon, severity = text.partition(":")
        if not colon or not severity.isdecimal():
            raise ValueError(f"A disturbance is given as name:severity, for example lighting:3; got {text!r}.")
        found[name] = int(severity)
    check(found)
    return found
