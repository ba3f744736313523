"""LIBERO's own environment of a task, built without cameras, and the settings that decide its episodes.

Defaults of robosuite and LIBERO that do not suit an evaluation are switched off here, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from inspire_fast.core.ranges import Count, Natural, require_ranges
from inspire_fast.core.registry import require_choice
from inspire_fast.envs.libero.camera import RenderQuality
from inspire_fast.envs.libero.install import import_simulator
from inspire_fast.envs.libero.observation_time import Sampling
from inspire_fast.envs.libero.seeding import FixtureSeeding, seeded
from inspire_fast.envs.libero.suites import Task

InitialStates = Literal["fixed", "randomized"]
PLACEMENT_ATTEMPTS = 100


@dataclass(frozen=True, kw_only=True)
class LiberoSettings:
    """Settings of a `LiberoEnvironment`.

    Attributes:
        camera_hw: height and width of both images, pixels.
        seed: together with the episode's number, decides everything random.
        initial_states: `fixed` takes number `episode` of the suite's 50 stored states; `randomized` draws one from the
            task's placement regions, and draws again if objects land on each other and slide off.
        fixture_seeding: `episode` draws new fixture poses for each episode; `constant` gives every episode the poses of
            `seed` (InSpire-FAST's evaluation); `sequence` continues drawing from `seed` from episode to episode
            (openpi's evaluation; fixed states only), see `seeding.Placements`.
        settle_steps: control steps without motion after each reset, while objects come to rest.
        sampling: observations show the `end` of a control step or openpi's instant (`robosuite`), see
            `observation_time`. Facts always describe the end.
        render_quality: see `camera.Cameras`. Images differ, so training and evaluation need the same value.

    Raises:
        ValueError: a value that does not exist, or values that exclude each other.
    """

    camera_hw: tuple[Count, Count] = (224, 224)
    seed: Natural = 7
    initial_states: InitialStates = "fixed"
    fixture_seeding: FixtureSeeding = "episode"
    settle_steps: Natural = 10
    sampling: Sampling = "end"
    render_quality: RenderQuality = "full"

    def __post_init__(self) -> None:
        require_ranges(self)
        require_choice("initial_states", self.initial_states, InitialStates)
        require_choice("fixture_seeding", self.fixture_seeding, FixtureSeeding)
        require_choice("sampling", self.sampling, Sampling)
        require_choice("render_quality", self.render_quality, RenderQuality)
        if self.fixture_seeding == "sequence" and self.initial_states != "fixed":
            raise ValueError("fixture_seeding='sequence' needs initial_states='fixed': drawn placements have no order.")


def make_domain(task: Task, *, seed: int) -> Any:
    """Builds the simulator of a task (LIBERO calls it a problem domain), without rendering. Takes seconds.

    Raises:
        ImportError: the simulator is not installed; names the command that installs it.
    """
    wrapper = import_simulator()
    with seeded([seed]):
        control = wrapper.ControlEnv(
            bddl_file_name=str(task.bddl_file),
            use_camera_obs=False,
            has_offscreen_renderer=False,
            ignore_done=True,  # else robosuite raises after 1000 steps; the caller owns the step limit
        )
    domain = control.env
    domain.hard_reset = False  # a hard reset compiles the model again, which takes seconds and changes nothing
    # robosuite computes its observables at every physics step (25 per action); we read only what we need.
    domain._observables = {}
    return domain


def draw_placement(domain: Any, name: str) -> None:
    """Draws one placement of fixtures and objects from numpy's global generator.

    Args:
        domain: see `make_domain`.
        name: the task's, for the error.

    Raises:
        RuntimeError: no placement without collision was found.
    """
    from robosuite.utils.errors import RandomizationError

    for _ in range(PLACEMENT_ATTEMPTS):
        # robosuite does not reset the fingers' command, which would carry the last episode's grip into this one.
        domain.robots[0].gripper.current_action = np.zeros(domain.robots[0].gripper.dof)
        try:
            domain.reset()
            return
        except RandomizationError:  # this draw filled its regions; the next one may not
            continue
    raise RuntimeError(f"{name}: no placement without collision in {PLACEMENT_ATTEMPTS} attempts.")
