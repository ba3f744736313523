"""Protocols on SimplerEnv, and its simulators as a policy sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from inspire_fast.core.episode import Infer
from inspire_fast.core.ranges import Count, Natural, NotNegative
from inspire_fast.core.registry import unknown_name
from inspire_fast.core.types import SceneFacts
from inspire_fast.data.images import resize_with_pad, shrink
from inspire_fast.data.picture_facts import moved, padded
from inspire_fast.envs.simpler import maniskill3
from inspire_fast.envs.simpler.environment import SimplerEnvironment
from inspire_fast.envs.simpler.maniskill3 import ManiSkill3
from inspire_fast.envs.simpler.rendering import SRDF, assets_folder
from inspire_fast.envs.simpler.tasks import SUITES, find_task
from inspire_fast.evaluation.run.ensemble import CosineEnsemble
from inspire_fast.evaluation.run.protocol import Protocol
from inspire_fast.robots.control.environment import Environment

SuccessMode = Literal["last_step", "any_step"]
Fit = Literal["squeeze", "pad"]
Assets = Literal["real", "stand-in"]


@dataclass(frozen=True, kw_only=True)
class SimplerProtocol(Protocol):
    """Settings of episodes on SimplerEnv.

    Attributes:
        max_steps: suite -> control steps of an episode; `suite:task` for a task that differs.
        robot: registry name.
        simulator: SimplerEnv exists on both; success is judged otherwise and placements settle otherwise.
        mani_skill: version of ManiSkill 3's package; empty with ManiSkill 2.
        repeats: of each of a task's placements. A simulator and a policy that draw nothing repeat themselves exactly.
        success_mode: the goal must hold after the `last_step` of an episode that always runs to its limit (SimplerEnv's
            own rule), or the episode ends at `any_step` after which it holds.
        fit: the picture is made square by `squeeze` (all of it, distorted, by area) or by `pad` (black margins).
        image_px: height and width sent; the policy resizes to its own size.
        ensemble: recent chunks of which an action is the mean (see `CosineEnsemble`); 0 executes chunks as they are.
        ensemble_alpha: weight of the cosine there.
        sticky_steps: see `StickyGripper`; 0 for WidowX.
        assets: SimplerEnv's own (`real`), or a `stand-in` for a part of them: such figures are not the official ones.
    """

    robot: str
    simulator: Literal["maniskill2", "maniskill3"]
    mani_skill: str = ""
    repeats: Count = 1
    success_mode: SuccessMode = "last_step"
    fit: Fit = "squeeze"
    image_px: Count = 224
    ensemble: Natural = 0
    ensemble_alpha: NotNegative = 0.1
    sticky_steps: Natural = 0
    assets: Assets = "real"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ensemble and self.execute != 1:
            raise ValueError(f"An ensemble asks at every step: execute must be 1 with ensemble={self.ensemble}.")
        if (self.robot == "google_robot") != bool(self.sticky_steps):
            raise ValueError(
                f"Protocol {self.name!r}: sticky_steps is for Google Robot's gripper, which needs it; got "
                f"{self.sticky_steps} for {self.robot!r}."
            )

    @property
    def simulator_name(self) -> str:
        """See `Protocol`."""
        return "SimplerEnv"

    @property
    def robot_name(self) -> str:
        """See `Protocol`."""
        return self.robot

    @property
    def in_words(self) -> str:
        """See `Protocol`."""
        where = "ManiSkill 2" if self.simulator == "maniskill2" else f"ManiSkill {self.mani_skill}"
        counts = "after the last step" if self.success_mode == "last_step" else "at any step, which ends the episode"
        asked = f"a new chunk at every step, mean of the last {self.ensemble} (alpha {self.ensemble_alpha})"
        return "; ".join(
            (
                f"{where}, {self.assets} assets",
                f"success counts {counts}",
                "at most " + ", ".join(f"{steps} steps ({name})" for name, steps in self.max_steps.items()),
                f"pictures {'squeezed' if self.fit == 'squeeze' else 'padded'} to {self.image_px} px",
                asked if self.ensemble else f"{self.execute} action(s) of each chunk",
                f"gripper changes repeated for {self.sticky_steps} steps"
                if self.sticky_steps
                else "gripper not sticky",
                f"{self.repeats} run(s) of each placement",
            )
        )

    def task_count(self, suite: str) -> int:
        """See `Protocol`."""
        find_task(suite, 0)
        return len(SUITES[suite])

    def trial_count(self, suite: str, task: int) -> int:
        """See `Protocol`: the task's placements, repeated."""
        return find_task(suite, task).placements * self.repeats

    def limit(self, suite: str, task: int) -> int:
        """See `Protocol`."""
        if suite not in self.max_steps:
            raise ValueError(unknown_name(f"suite of protocol {self.name!r}", suite, list(self.max_steps)))
        return self.max_steps.get(f"{suite}:{task}", self.max_steps[suite])

    def check_policy(self, policy: Mapping[str, Any]) -> None:
        """See `Protocol`."""
        robot = str(policy.get("robot", self.robot))
        if robot != self.robot:
            raise ValueError(f"The policy drives {robot!r}; protocol {self.name!r} is of {self.robot!r}.")
        orientation = str(policy.get("image_orientation", "upright"))
        if orientation != "upright":
            raise ValueError(f"SimplerEnv's pictures are upright; the policy was trained on {orientation}.")

    def simulator_versions(self) -> dict[str, str]:
        """See `Protocol`; with the digest of the assets, which decide what is seen and what touches."""
        self._require_maniskill3()
        found = maniskill3.versions()
        if found["mani-skill"] != self.mani_skill:
            raise ValueError(
                f"Protocol {self.name!r} needs mani-skill {self.mani_skill}; {found['mani-skill']} is installed, whose "
                f"tasks may differ. Install mani-skill=={self.mani_skill}."
            )
        if self.assets == "real" and not (assets_folder() / SRDF).exists():
            raise ValueError(
                f"These are not SimplerEnv's own assets: {SRDF} is missing in {assets_folder()}. State it with "
                "--assets stand-in; such figures are not the official ones."
            )
        return {**found, "assets_sha256": digest(assets_folder())}

    def _require_maniskill3(self) -> None:
        if self.simulator != "maniskill3":
            raise ValueError(
                f"Protocol {self.name!r} needs ManiSkill 2, which is in no package registry. Make its environments "
                "yourself and hand them over as Job(make=...): see examples/simpler_env/README.md."
            )

    def environment(
        self, suite: str, task: int, policy: Mapping[str, Any], disturbances: Mapping[str, int]
    ) -> Environment:
        """See `Protocol`."""
        _ = policy
        if any(disturbances.values()):
            raise ValueError(f"SimplerEnv has no disturbances; got {sorted(disturbances)}.")
        self._require_maniskill3()
        found = find_task(suite, task)
        return self.view(SimplerEnvironment(found, ManiSkill3.make(found), sticky_steps=self.sticky_steps))

    def view(self, environment: SimplerEnvironment) -> Environment:
        """An environment with this protocol's pictures and its rule of success."""
        return SimplerView(environment, self)

    def executed(self, infer: Infer) -> Infer:
        """See `Protocol`."""
        return CosineEnsemble(infer, horizon=self.ensemble, alpha=self.ensemble_alpha) if self.ensemble else infer


class SimplerView:
    """Wraps an environment of SimplerEnv: square pictures, facts that move with them, and the rule of success.

    Args:
        environment: of one task.
        protocol: says how.
    """

    def __init__(self, environment: SimplerEnvironment, protocol: SimplerProtocol) -> None:
        self._environment, self._protocol = environment, protocol
        self._limit = protocol.limit(environment.task.suite, environment.task.index)
        (self._camera,) = environment.robot.cameras
        self._steps, self._hw = 0, (1, 1)

    @property
    def prompt(self) -> str:
        """The instruction."""
        return self._environment.prompt

    @property
    def success(self) -> bool:
        """Whether the episode is solved, by the protocol's rule."""
        at_end = self._protocol.success_mode == "last_step"
        return self._environment.success and (not at_end or self._steps >= self._limit)

    def reset(self, episode: int) -> None:
        """Starts an episode."""
        self._steps = 0
        self._environment.reset(episode)

    def observe(self) -> Mapping[str, Any]:
        """Renders, and returns the observation to send."""
        native = self._environment.observe()
        image: np.ndarray = native[self._camera]
        self._hw = (image.shape[0], image.shape[1])
        fit = shrink if self._protocol.fit == "squeeze" else resize_with_pad
        size = self._protocol.image_px
        return {**native, self._camera: fit(np.ascontiguousarray(image), size, size)}

    def step(self, action: np.ndarray) -> np.ndarray:
        """Executes an action and returns it after limits."""
        self._steps += 1
        return self._environment.step(action)

    def facts(self) -> SceneFacts | None:
        """The simulator's truth; places are of the picture as it was sent last."""
        facts = self._environment.facts()
        if facts is None or self._protocol.fit == "squeeze":
            return facts
        return moved(facts, padded(self._hw, (self._protocol.image_px, self._protocol.image_px)))

    def close(self) -> None:
        """Frees the simulator."""
        self._environment.close()


def digest(folder: Path) -> str:
    """First twelve hexadecimal digits of a SHA-256 over the names and contents of a folder's files."""
    found = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return found.hexdigest()[:12]
